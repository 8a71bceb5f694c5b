export const broken = { workflowType: 'janitor' };
export const fine = { workflowType: WORKFLOWS.janitor.name, kind: 'janitor' };
