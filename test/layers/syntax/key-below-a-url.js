export const broken = (runUrl, folder) => `${runUrl}/stages/${folder}`;
export const fine = (uiUrl, run, runUrl) => [
  `${uiUrl}/workflows/${run}`,
  `${run}/${runUrl}`,
  `at ${runUrl}/`,
];
