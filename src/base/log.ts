// The interface for logging. The server passes a pino logger.

/** Structured logging; `context` never contains a cap, token or key. */
export interface Log {
  info(context: object, message: string): void;
  warn(context: object, message: string): void;
  error(context: object, message: string): void;
}

export const logFormats = ["json", "text"] as const;
export type LogFormat = (typeof logFormats)[number];

/** From only the most important lines to all. */
export const logLevels = ["error", "warn", "info"] as const;
export type LogLevel = (typeof logLevels)[number];

export const silentLog: Log = { info() {}, warn() {}, error() {} };
