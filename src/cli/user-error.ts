/** Something the user can put right: printed as it is, without a stack. */
export class UserError extends Error {
  override readonly name = 'UserError';
}
