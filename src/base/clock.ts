// Time as an argument, so that nothing below composition reads the machine's clock on its own.

/** Milliseconds since the epoch. */
export type Clock = () => number;

export const systemClock: Clock = () => Date.now();

/** The longest time that a timer can be set to: Node counts milliseconds in 31 bits, and a longer one fires at once. */
export const maxTimerMs = 2 ** 31 - 1;

/** IMF-fixdate, as HTTP and Release demand, e.g. `Sun, 06 Nov 1994 08:49:37 GMT`. @see RFC 9110 5.6.7 */
export const httpDate = (seconds: number): string => new Date(seconds * 1000).toUTCString();
