export const broken = [`WorkflowType = 'recipe' AND CloseTime > '${since}'`, "WorkflowType='recipe'"];
export const fine = [`WorkflowType = '${name}'`, `WorkflowId = "${run}"`];
