// The number of cases for a property test.

/**
 * All cases, or a fifth of them if TEST_CASES is `few`, as `npm run test:unit` sets it for quick results. Tests that
 * need many cases to show anything do not use this.
 */
export const cases = (all: number): number => (process.env.TEST_CASES === "few" ? Math.ceil(all / 5) : all);
