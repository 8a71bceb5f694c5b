export const broken = (stage) => `${stage.url}/log.txt`;
export const fine = (temporal, stage) => [`${temporal.uiUrl}/namespaces`, `${stage.url}: is gone`];
