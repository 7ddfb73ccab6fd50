// The log of the server: lines of JSON with names of levels and ISO times, or lines of text for people.
import { pino } from "pino";
import { describedError } from "../base/described-error.ts";
import type { Log, LogFormat, LogLevel } from "../base/log.ts";
import type { Configuration } from "../config/configuration.ts";

export interface LogSettings {
  readonly format: LogFormat;
  /** Lines of lower levels are left out. */
  readonly level: LogLevel;
}

/** The settings of the log in a configuration. */
export const logSettingsOf = ({ logFormat, logLevel }: Pick<Configuration, "logFormat" | "logLevel">): LogSettings => ({
  format: logFormat ?? (process.stdout.isTTY ? "text" : "json"),
  level: logLevel,
});

export interface ServerLog extends Log {
  /** Changes how the lines from now on are written. */
  configure(settings: LogSettings): void;
}

/** @param write writes whole lines; by default to standard output */
export function openLog(settings: LogSettings, write = standardOutput()): ServerLog {
  let { format } = settings;
  const log = pino(
    {
      level: settings.level,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
      serializers: { err: describedError },
    },
    { write: (line: string) => write(format === "text" ? textOf(line) : escaped(line)) },
  );
  return {
    info: (context, message) => log.info(context, message),
    warn: (context, message) => log.warn(context, message),
    error: (context, message) => log.error(context, message),
    configure(changed) {
      format = changed.format;
      log.level = changed.level;
    },
  };
}

function standardOutput(): (text: string) => void {
  const destination = pino.destination({ dest: 1, sync: true });
  // Nobody reads the output any more, or its disk is full: the server goes on.
  destination.on("error", () => undefined);
  return (text) => void destination.write(text);
}

/** These are the same in each line. */
const omitted = new Set(["level", "time", "pid", "hostname", "msg"]);

/** `2026-11-22T13:45:00.000Z WARN  the message key=value other="two words"`; a stack trace follows on its own lines. */
function textOf(line: string): string {
  const fields = JSON.parse(line) as Readonly<Record<string, unknown>>;
  const { level, time, msg } = fields;
  const { stack, ...error } = typeof fields.err === "object" ? (fields.err as Readonly<Record<string, unknown>>) : {};
  const shown = Object.entries({ ...fields, err: undefined, ...prefixed(error) })
    .filter(([key, value]) => value !== undefined && !omitted.has(key))
    .map(([key, value]) => `${key}=${valueText(value)}`);
  const text = [time, String(level).toUpperCase().padEnd(5), printable(String(msg)), ...shown].join(" ");
  return `${text}\n${typeof stack === "string" ? `${stack.split("\n").map(printable).join("\n")}\n` : ""}`;
}

const prefixed = (error: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(error).map(([key, value]) => [key === "message" ? "error" : key, value]));

const valueText = (value: unknown): string =>
  typeof value === "string" && /^[\w.:/@+-]+$/.test(value) ? value : printable(JSON.stringify(value));

/** Clients choose some of the text: no control character of it may reach a terminal. */
const printable = (text: string): string =>
  // oxlint-disable-next-line no-control-regex
  escaped(text.replace(/[\u0000-\u001f]/g, (character) => JSON.stringify(character).slice(1, -1)));

/**
 * Escapes what JSON leaves as it is and a terminal interprets: DEL, the control characters from U+0080 on, of which one
 * begins escape sequences, and those that change the direction of text.
 */
const escaped = (text: string): string =>
  text.replace(
    // oxlint-disable-next-line no-control-regex
    /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
