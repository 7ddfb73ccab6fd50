// How many cases a property is tried with.

/**
 * All of them, unless TEST_CASES is `few`, as `npm run test:unit` sets it for a quick answer: then a fifth. What needs
 * many cases to be shown at all does not use this.
 */
export const cases = (all: number): number => (process.env.TEST_CASES === "few" ? Math.ceil(all / 5) : all);
