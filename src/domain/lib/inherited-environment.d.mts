/** The part of an environment that a process of a run inherits from its worker's. */
export function inheritedEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string>;
