export const broken = (handle) => handle.query('status');
export const fine = (handle) => [
  handle.query('__stack_trace'),
  handle.query(QUERIES.status.name),
  table.query(),
];
