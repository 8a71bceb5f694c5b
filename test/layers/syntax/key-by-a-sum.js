export const broken = (runUrl) => runUrl + '/report';
export const fine = (runUrl, folder) => [runUrl + ' is gone', folder + '/report'];
