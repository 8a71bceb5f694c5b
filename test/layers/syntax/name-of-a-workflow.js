export const broken = (client) => client.workflow.start('recipe', { args: [] });
export const fine = (client) => [client.workflow.start(WORKFLOWS.recipe.name, {}), server.start('s3')];
