export const broken = defineUpdate('pause');
export const fine = [defineUpdate(action), defineSearchAttributeKey('LonghaulState', 'KEYWORD')];
