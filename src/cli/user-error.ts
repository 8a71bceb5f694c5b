/** Something the user can put right: printed as it is, without a stack. */
export class UserError extends Error {
  override readonly name = 'UserError';

  /** `exitCode`: what the command ends with. */
  constructor(
    message: string,
    readonly exitCode = 1,
  ) {
    super(message);
  }
}
