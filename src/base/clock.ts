// The clock as an argument: only the code that puts the program together reads the machine's clock.

/** Milliseconds since the epoch. */
export type Clock = () => number;

export const systemClock: Clock = () => Date.now();

/** The longest delay of a timer: Node.js stores it in 31 bits, and a longer one fires at once. */
export const maxTimerMs = 2 ** 31 - 1;

/**
 * IMF-fixdate, the format that HTTP and Release files use, e.g. `Sun, 06 Nov 1994 08:49:37 GMT`.
 * @see RFC 9110 5.6.7
 */
export const httpDate = (seconds: number): string => new Date(seconds * 1000).toUTCString();
