export const broken = (prefix) => `${prefix}/manifest.json`;
export const fine = (model) => [`${model} has no manifest.json`, `${model}/index.json`];
