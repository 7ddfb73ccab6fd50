// Times of uploads, which are 0 if they are unknown.

export const secondsOf = (milliseconds: number): number | undefined =>
  milliseconds > 0 ? Math.floor(milliseconds / 1000) : undefined;
