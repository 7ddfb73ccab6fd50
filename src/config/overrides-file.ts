// The overrides of a repository: those in its configuration, and those in a file that commands write.

import { existsSync } from "node:fs";
import { stringify as formatToml } from "smol-toml";
import { z } from "zod";
import { messageOf } from "../base/errors.ts";
import type { Suite } from "../base/names.ts";
import { replaceFile } from "../base/replace-file.ts";
import { SerialQueue } from "../base/serial-queue.ts";
import type { OverrideRule } from "../catalog/suite/overrides.ts";
import { checkOverride, Overrides } from "../catalog/suite/overrides.ts";
import { readTomlAs } from "./config-values.ts";
import { since010 } from "./key-documentation.ts";
import { rereadWhenChanged } from "./reread-file.ts";

/** The schema of one rule in either file. */
export const overrideRule = z
  .strictObject({
    packages: z
      .string()
      .min(1)
      .meta(
        since010("Which packages: `NAME`, `NAME=VERSION`, `src:NAME` or `src:NAME=VERSION`, each with `*` and `?`.", {
          form: "pattern",
        }),
      ),
    suite: z
      .string()
      .min(1)
      .optional()
      .meta(since010("Only in this suite.", { byDefault: "all suites" })),
    set: z
      .record(z.string(), z.string())
      .meta(
        since010(
          'Fields and their values, as in `{ Section = "libs" }`. Not those that identify the package or that apt compares.',
          { form: "table of strings" },
        ),
      ),
  })
  .superRefine((rule, context) => {
    try {
      checkOverride(rule);
    } catch (thrown) {
      context.issues.push({ code: "custom", input: undefined, message: messageOf(thrown) });
    }
  });

/** The name of the file in the directory of a repository to which commands write its overrides. */
export const overridesFileName = "overrides.toml";

/** The overrides of a repository, which commands can change. */
export class OverridesFile {
  readonly file: string;
  readonly #configured: readonly OverrideRule[];
  readonly #rules: ReturnType<typeof rereadWhenChanged<readonly OverrideRule[]>>;
  readonly #complain: (text: string) => void;
  readonly #changes = new SerialQueue();
  #compiled: { readonly rules: readonly OverrideRule[]; readonly bySuite: Map<Suite, Overrides> } | undefined;

  /**
   * @param configured rules that precede those of the file; the last rule for a field takes effect
   * @throws Error that names the file and its mistakes
   */
  constructor(file: string, configured: readonly OverrideRule[], complain: (text: string) => void) {
    this.file = file;
    this.#configured = configured;
    this.#complain = complain;
    this.#rules = rereadWhenChanged(file, () => read(file), complain);
  }

  /** Returns all rules, first those of the configuration. */
  rules(): readonly OverrideRule[] {
    return [...this.#configured, ...this.#rules(this.#complain)];
  }

  /** Returns the rules of one suite: the same object until the file changes. */
  of(suite: Suite): Overrides {
    const rules = this.#rules(this.#complain);
    if (this.#compiled?.rules !== rules) this.#compiled = { rules, bySuite: new Map() };
    const known = this.#compiled.bySuite.get(suite);
    if (known !== undefined) return known;
    const own = this.rules().filter((rule) => rule.suite === undefined || rule.suite === suite);
    const compiled = new Overrides(own);
    this.#compiled.bySuite.set(suite, compiled);
    return compiled;
  }

  /**
   * Overrides fields of the packages that match a pattern. A value of undefined removes an override.
   * @returns the new rule in the file; undefined if no field is left
   * @throws BadOverride, errors of writing
   */
  async change(
    about: Pick<OverrideRule, "packages" | "suite">,
    fields: { readonly [field: string]: string | undefined },
  ): Promise<OverrideRule | undefined> {
    return await this.#changes.run(async () => {
      const before = read(this.file);
      const isSame = ({ packages, suite }: OverrideRule) => packages === about.packages && suite === about.suite;
      const set = new Map(Object.entries(before.find(isSame)?.set ?? {}));
      for (const [name, value] of Object.entries(fields)) {
        for (const known of set.keys()) if (known.toLowerCase() === name.toLowerCase()) set.delete(known);
        if (value !== undefined) set.set(name, value);
      }
      const rule = { ...about, set: Object.fromEntries(set) };
      const others = before.filter((each) => !isSame(each));
      if (set.size > 0) checkOverride(rule);
      await replaceFile(this.file, textOf(set.size > 0 ? [...others, rule] : others), { mode: 0o600 });
      return set.size > 0 ? rule : undefined;
    });
  }
}

function read(file: string): readonly OverrideRule[] {
  if (!existsSync(file)) return [];
  return readTomlAs(file, z.strictObject({ override: z.array(overrideRule).default([]) })).override;
}

const textOf = (rules: readonly OverrideRule[]): string =>
  `# Written by tahoe-apt override and tahoe-apt phase.\n${formatToml({
    override: rules.map(({ packages, suite, set }) => ({ packages, ...(suite !== undefined && { suite }), set })),
  })}`;
