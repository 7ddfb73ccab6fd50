// The reference of the configuration file, from its schema.
import { z } from "zod";
import { maxTimerSeconds, schemaFor } from "../../src/config/config-schema.ts";
import type { Effect } from "../../src/config/configuration-changes.ts";
import { effectOf } from "../../src/config/configuration-changes.ts";
import type { Page } from "./markdown.ts";
import { code, contentsOf, prose, table } from "./markdown.ts";

/** The part of a JSON schema that is used here, with what `meta` adds. */
interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly since?: string;
  readonly form?: string;
  readonly unit?: string;
  readonly byDefault?: string;
  readonly default?: unknown;
  readonly deprecated?: boolean;
  readonly orItsMember?: boolean;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | false;
}

/** One key. */
export interface ConfigurationKey {
  /** The tables that it is in, and its name: `["repository", "suite", "codename"]`. */
  readonly path: readonly string[];
  readonly schema: Schema;
  readonly isRequired: boolean;
}

/** A table of TOML. */
interface Section {
  /** As in the file, for example `[[repository.builder]]`; "" for the keys before the first table. */
  readonly header: string;
  readonly path: readonly string[];
  readonly schema: Schema;
  readonly keys: readonly ConfigurationKey[];
}

/** A table that a property is, and how its header is written; undefined if the property is a key with a value. */
function tableOf(
  schema: Schema,
): { readonly inner: Schema; readonly isList: boolean; readonly isNamed: boolean } | undefined {
  if (schema.properties !== undefined) return { inner: schema, isList: false, isNamed: false };
  if (schema.items?.properties !== undefined) return { inner: schema.items, isList: true, isNamed: false };
  const others = schema.additionalProperties;
  if (others !== undefined && others !== false && others.properties !== undefined)
    return { inner: others, isList: false, isNamed: true };
  return undefined;
}

/** Returns a table and all tables in it, without deprecated keys. */
function sectionsOf(schema: Schema, inner: Schema, header: string, path: readonly string[]): readonly Section[] {
  const properties = Object.entries(inner.properties ?? {}).filter(([, one]) => one.deprecated !== true);
  const keys = properties
    .filter(([, one]) => tableOf(one) === undefined)
    .map(([name, one]) => ({
      path: [...path, name],
      schema: one,
      isRequired: inner.required?.includes(name) ?? false,
    }));
  const nested = properties.flatMap(([name, one]) => {
    const found = tableOf(one);
    if (found === undefined) return [];
    const outer = header.replaceAll(/[[\]]/g, "");
    const full = [...(outer === "" ? [] : [outer]), name, ...(found.isNamed ? ["NAME"] : [])].join(".");
    return sectionsOf(one, found.inner, found.isList ? `[[${full}]]` : `[${full}]`, [...path, name]);
  });
  return [{ header, path, schema, keys }, ...nested];
}

/** All tables of the configuration, in the order of the schema. */
export function configurationSections(): readonly Section[] {
  const schema = z.toJSONSchema(
    schemaFor({
      base: "/",
      credentialsDirectory: undefined,
      warn: () => undefined,
      readCap: undefined,
      pingToken: undefined,
    }),
    { io: "input", unrepresentable: "any" },
  ) as Schema;
  return sectionsOf(schema, schema, "", []);
}

const units: readonly (readonly [suffix: string, unit: string])[] = [
  ["_bytes_per_second", "bytes per second"],
  ["_seconds", "seconds"],
  ["_bytes", "bytes"],
  ["_per_minute", "per minute"],
];

/** The unit of a number; undefined for a plain count. */
const unitOf = (name: string, { unit }: Schema): string | undefined =>
  unit ?? units.find(([suffix]) => name.endsWith(suffix))?.[1];

function typeOf(name: string, schema: Schema): string {
  if (schema.items !== undefined) {
    const member = typeOf(name, schema.items);
    return schema.orItsMember === true ? `${member}, or a list of them` : `list of: ${member}`;
  }
  if (schema.enum !== undefined) return schema.enum.map((value) => code(JSON.stringify(value))).join(", ");
  if (schema.type === "integer" || schema.type === "number") return numberTypeOf(name, schema);
  return schema.form ?? schema.type ?? "string";
}

function numberTypeOf(name: string, schema: Schema): string {
  const unit = unitOf(name, schema);
  const least = schema.minimum ?? 0;
  const most = schema.maximum ?? Number.MAX_SAFE_INTEGER;
  const isBounded = most !== Number.MAX_SAFE_INTEGER && most !== maxTimerSeconds;
  const range = isBounded ? `, ${least} to ${most}` : least > 1 ? `, ${least} or more` : "";
  return `${schema.type ?? ""}${unit === undefined ? "" : ` (${unit})`}${range}`;
}

/** A number in units that people read at a glance; "" if that says nothing new. */
function plainly(name: string, value: number): string {
  const scales: readonly (readonly [number, string])[] = name.endsWith("_seconds")
    ? [
        [86_400, "day"],
        [3600, "hour"],
        [60, "minute"],
      ]
    : /_bytes(_per_second)?$/.test(name)
      ? [
          [2 ** 30, "GiB"],
          [2 ** 20, "MiB"],
          [2 ** 10, "KiB"],
        ]
      : [];
  const [size, scale] = scales.find(([one]) => value >= one && value % one === 0) ?? [];
  if (size === undefined || scale === undefined) return "";
  const count = value / size;
  return ` (${count} ${scale}${scale.endsWith("iB") || count === 1 ? "" : "s"})`;
}

function defaultOf(name: string, { schema, isRequired }: ConfigurationKey): string {
  if (isRequired) return "required";
  if (schema.byDefault !== undefined) return schema.byDefault;
  const value = schema.default;
  if (value === undefined) return "–";
  if (typeof value === "number") return `${code(String(value))}${plainly(name, value)}`;
  const text = Array.isArray(value) ? `[${value.map((one) => JSON.stringify(one)).join(", ")}]` : JSON.stringify(value);
  return code(text);
}

const effectTexts = {
  now: "at once",
  reopen: "reopens",
  restart: "restart",
} as const satisfies Record<Effect, string>;

function rowOf(key: ConfigurationKey): readonly string[] {
  const name = key.path.at(-1) ?? "";
  const effect = effectOf(key.path);
  return [
    code(name),
    typeOf(name, key.schema),
    defaultOf(name, key),
    key.schema.since ?? "",
    effect === undefined ? "" : effectTexts[effect],
    key.schema.description ?? "",
  ];
}

const intro = `
The configuration file is [TOML](https://toml.io/), for \`tahoe-apt serve --config FILE\`.
\`tahoe-apt check FILE\` names all mistakes in one. The [guide for operators](../guide-operators.md) explains how to use it.
`;

const legend = `
- **Type.** An integer has no fraction, a number may have one. The unit stands behind it, and in the name of the key; a number without one counts what the meaning names.
  The maximum of a time that a timer waits for is ${maxTimerSeconds} seconds (${maxTimerSeconds / 86_400} days). Paths are
  relative to the directory of the file. A key that ends with \`_file\` also accepts \`credential:NAME\`, a credential that
  systemd passes to the service.
- **Default.** What takes effect without the key; – is nothing.
- **Since.** The first [version](../../CHANGELOG.md) that has the key.
- **Reload.** What \`tahoe-apt reload\` does with a change: \`at once\` takes it over; \`reopens\` opens the repositories again
  that it concerns, which lose no request; \`restart\` needs a restart of the server, which the reload says.
`;

const limitsNote = `
What exceeds a limit becomes a reject, an error or a line in the log that names the key and its value. The defaults are
far above what Debian's main archive needs; the [guide for operators](../guide-operators.md#limits) says which of them you
are likely to change. Keys of earlier versions in milliseconds (\`first_byte_timeout_ms\`) still work, with a warning.
`;

const columns = ["key", "type", "default", "since", "reload", "meaning"];

function sectionText({ header, schema, keys }: Section): string {
  const heading = header === "" ? "Keys before the first table" : code(header);
  const note = header === "[limits]" ? `\n\n${prose(limitsNote)}` : "";
  const text = schema.description === undefined ? "" : `\n\n${prose(schema.description)}`;
  const rows = keys.length === 0 ? "" : `\n\n${table(columns, keys.map(rowOf))}`;
  return `## ${heading}${text}${note}${rows}`;
}

export function configurationPage(): Page {
  const sections = configurationSections();
  const headings = sections.map(({ header }) => (header === "" ? "Keys before the first table" : code(header)));
  return {
    file: "configuration.md",
    title: "Configuration keys",
    contents: "every key of the configuration: type, unit, default, first version, whether a reload takes it over",
    madeFrom: "src/config/config-schema.ts and limit-documentation.ts",
    body: [prose(intro), contentsOf(headings), prose(legend), ...sections.map(sectionText)].join("\n\n"),
  };
}
