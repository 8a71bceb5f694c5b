export const broken = (handle) => handle.signal('progress', {});
export const fine = (handle, backend) => [
  handle.signal(SIGNALS.progress.name, {}),
  backend.signal('a-job', 'SIGTERM'),
];
