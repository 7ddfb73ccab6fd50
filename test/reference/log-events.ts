// The reference of the server's log, from the calls in the source.
import type { Argument, Expression, ObjectExpression } from "oxc-parser";
import { parseSync, Visitor } from "oxc-parser";
import { readProjectFile, sourceFiles } from "../support/project-files.ts";
import { logMeanings, varyingMessages } from "./log-meanings.ts";
import type { Page } from "./markdown.ts";
import { code, prose, table } from "./markdown.ts";

export interface LogCall {
  readonly file: string;
  readonly level: string;
  /** The text, with `…` for each part that varies; undefined if it is made elsewhere. */
  readonly message: string | undefined;
  /** The source of the message. */
  readonly source: string;
  readonly fields: readonly string[];
  /** Whether `fields` lacks some that only the running program knows. */
  readonly hasOtherFields: boolean;
}

/** These pass on what was logged elsewhere. */
const forwarding = ["src/server/server-log.ts", "src/publishing/live/flat-names.ts"];

const levels = ["info", "warn", "error"];

/** Returns the calls of `log.info`, `log.warn` and `log.error` in a source file. */
export function logCallsIn(file: string, text: string): readonly LogCall[] {
  const { program } = parseSync(file, text, { preserveParens: false });
  const objects = new Map<string, ObjectExpression>();
  const calls: LogCall[] = [];
  new Visitor({
    VariableDeclarator({ id, init }) {
      if (id.type === "Identifier" && init?.type === "ObjectExpression") objects.set(id.name, init);
    },
    CallExpression({ callee, arguments: [context, message, ...others] }) {
      if (callee.type !== "MemberExpression" || callee.property.type !== "Identifier") return;
      const { name: level } = callee.property;
      const logger = text.slice(callee.object.start, callee.object.end);
      if (!levels.includes(level) || !/log$/i.test(logger) || others.length > 0) return;
      if (context === undefined || message === undefined) return;
      const source = text.slice(message.start, message.end);
      calls.push({ file, level, message: textOf(message), source, ...fieldsOf(context, objects) });
    },
  }).visit(program);
  return calls;
}

function textOf(message: Argument): string | undefined {
  if (message.type === "Literal" && typeof message.value === "string") return message.value;
  if (message.type === "TemplateLiteral") return message.quasis.map(({ value }) => value.cooked ?? "").join("…");
  return undefined;
}

/** @param objects the objects that variables of the file have as their value */
function fieldsOf(
  context: Expression | Argument,
  objects: ReadonlyMap<string, ObjectExpression>,
): Pick<LogCall, "fields" | "hasOtherFields"> {
  if (context.type === "LogicalExpression") return fieldsOf(context.right, objects);
  const object = context.type === "Identifier" ? objects.get(context.name) : context;
  if (object?.type !== "ObjectExpression") return { fields: [], hasOtherFields: true };
  const parts = object.properties.map((property) => {
    if (property.type === "SpreadElement") return fieldsOf(property.argument, objects);
    const { key } = property;
    return key.type === "Identifier"
      ? { fields: [key.name], hasOtherFields: false }
      : { fields: [], hasOtherFields: true };
  });
  return {
    fields: parts.flatMap(({ fields }) => fields),
    hasOtherFields: parts.some(({ hasOtherFields }) => hasOtherFields),
  };
}

/** The calls in all source files. */
export const everyLogCall = (): readonly LogCall[] =>
  sourceFiles().flatMap((file) => logCallsIn(file, readProjectFile(file)));

/** Whether a call logs an event of its own, and does not pass on that of another call. */
export const isEvent = ({ file, source, fields, hasOtherFields }: LogCall): boolean =>
  !forwarding.includes(file) && !(fields.length === 0 && hasOtherFields && /^(text|message)$/.test(source));

/** What is known about the message of a call, apart from the source. */
export function meaningOf({ file, message, source }: LogCall) {
  if (message === undefined) return varyingMessages[`${file.replace("src/", "")} ${source}`];
  const known = logMeanings[message];
  return known && { shown: code(message), ...known };
}

const intro = `
The server writes one line for each event to its standard output: text on a terminal, otherwise JSON with \`level\`,
\`time\` (ISO 8601), \`msg\` and the fields below, also \`pid\` and \`hostname\`. \`log_format\`, \`log_level\` and \`access_log\` in
the [configuration](configuration.md) change that. Caps, tokens, passwords and queries are never written.

- **err** is an object with \`message\`, \`code\` and \`cause\`; only an unexpected error has a \`stack\`: please report it.
  As text, its parts are \`error=\`, \`code=\` and \`cause=\`.
- **code** is an [error code](error-codes.md), or the code of a system error such as \`ENOSPC\`.
- **requestId** is the \`X-Request-Id\` of the response.
- **suite** is the name of a suite, or the directory of a flat repository, such as \`./extras/\`.
- … in a message stands for a part that varies. Messages in italics are made from several texts.

Messages may become clearer in later versions. For monitoring, use the [metrics](metrics.md).
`;

export function logEventsPage(calls: readonly LogCall[]): Page {
  const byMessage = new Map<string, LogCall[]>();
  for (const call of calls) {
    const shown = meaningOf(call)?.shown ?? call.source;
    byMessage.set(shown, [...(byMessage.get(shown) ?? []), call]);
  }
  const rows = [...byMessage].map(([shown, same]) => {
    const [first] = same;
    const known = first && meaningOf(first);
    const fields = [...new Set(same.flatMap((call) => [...call.fields, ...(meaningOf(call)?.fields ?? [])]))];
    const isName = (field: string): boolean => /^\w+$/.test(field);
    return [
      shown.startsWith("`") ? shown : `*${shown}*`,
      [...new Set(same.map(({ level }) => level))].join(", "),
      fields.map((field) => (isName(field) ? code(field) : field)).join(", "),
      known?.meaning ?? "",
    ];
  });
  const sortKey = ([shown = ""]: readonly string[]): string => shown.replaceAll(/[`*]/g, "").toLowerCase();
  const sorted = rows.toSorted((one, other) => (sortKey(one) < sortKey(other) ? -1 : 1));
  return {
    file: "log-events.md",
    title: "Log events",
    contents: "every message of the server's log with its level and fields",
    madeFrom: "the calls of log.info, log.warn and log.error in src/, and test/reference/log-meanings.ts",
    body: [prose(intro), table(["message", "level", "fields", "meaning"], sorted)].join("\n\n"),
  };
}
