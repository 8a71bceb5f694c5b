export const broken = { workflowType: { name: 'recipe' } };
export const fine = { workflowType: { name: WORKFLOWS.recipe.name }, taskQueue: { name: 'longhaul' } };
