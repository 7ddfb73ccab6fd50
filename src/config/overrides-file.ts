// The overrides of a repository: those of its configuration, and those of a file that commands write.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { stringify as formatToml } from "smol-toml";
import { z } from "zod";
import { messageOf } from "../base/errors.ts";
import type { RepositoryName, Suite } from "../base/names.ts";
import { replaceFile } from "../base/replace-file.ts";
import type { OverrideRule } from "../catalog/suite/overrides.ts";
import { checkOverride, Overrides } from "../catalog/suite/overrides.ts";
import { readTomlAs } from "./config-values.ts";
import { rereadWhenChanged } from "./reread-file.ts";

/** One rule as it is written in either file. */
export const overrideRule = z
  .strictObject({
    packages: z.string().min(1),
    suite: z.string().min(1).optional(),
    set: z.record(z.string(), z.string()),
  })
  .superRefine((rule, context) => {
    try {
      checkOverride(rule);
    } catch (thrown) {
      context.issues.push({ code: "custom", input: undefined, message: messageOf(thrown) });
    }
  });

/** Where a state directory keeps the overrides that commands have set for a repository. */
export const overridesFileIn = (stateDirectory: string, name: RepositoryName): string =>
  join(stateDirectory, "repositories", name, "overrides.toml");

/** What commands may change of the overrides. */
export class OverridesFile {
  readonly file: string;
  readonly #configured: readonly OverrideRule[];
  readonly #rules: ReturnType<typeof rereadWhenChanged<readonly OverrideRule[]>>;
  readonly #complain: (text: string) => void;
  /** One change after the other. */
  #changing: Promise<unknown> = Promise.resolve();
  #compiled: { readonly rules: readonly OverrideRule[]; readonly bySuite: Map<Suite, Overrides> } | undefined;

  /**
   * @param configured rules that stand before those of the file: of several for a field the last one counts
   * @throws Error that names the file, and what is wrong with it
   */
  constructor(file: string, configured: readonly OverrideRule[], complain: (text: string) => void) {
    this.file = file;
    this.#configured = configured;
    this.#complain = complain;
    this.#rules = rereadWhenChanged(file, () => read(file), complain);
  }

  /** All rules, those of the file behind those of the configuration. */
  rules(): readonly OverrideRule[] {
    return [...this.#configured, ...this.#rules(this.#complain)];
  }

  /** The rules of one suite; the same object as long as the file has not changed. */
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
   * Sets fields of the packages that a pattern names, or stops setting them where the value is undefined.
   * @returns the rule as it stands in the file then; undefined where nothing is left of it
   * @throws BadOverride, and what writing throws
   */
  async change(
    about: Pick<OverrideRule, "packages" | "suite">,
    fields: { readonly [field: string]: string | undefined },
  ): Promise<OverrideRule | undefined> {
    const changing = this.#changing.then(async () => {
      const before = read(this.file);
      const isMeant = ({ packages, suite }: OverrideRule) => packages === about.packages && suite === about.suite;
      const set = new Map(Object.entries(before.find(isMeant)?.set ?? {}));
      for (const [name, value] of Object.entries(fields)) {
        for (const known of set.keys()) if (known.toLowerCase() === name.toLowerCase()) set.delete(known);
        if (value !== undefined) set.set(name, value);
      }
      const rule = { ...about, set: Object.fromEntries(set) };
      const others = before.filter((each) => !isMeant(each));
      if (set.size > 0) checkOverride(rule);
      await replaceFile(this.file, textOf(set.size > 0 ? [...others, rule] : others), { mode: 0o600 });
      return set.size > 0 ? rule : undefined;
    });
    this.#changing = changing.catch(() => undefined);
    return await changing;
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
