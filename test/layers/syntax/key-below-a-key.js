export const broken = (stageUrl, id) => `${stageLayout(stageUrl).checkpoints}/${id}`;
export const fine = (stageUrl, id) => `${stageLayout(stageUrl).head} names ${id}`;
