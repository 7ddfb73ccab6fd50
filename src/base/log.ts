// The log port: what a stage may say. Composition decides where it goes (pino).

/** Structured logging; `context` never holds a cap, token or key. */
export interface Log {
  info(context: object, message: string): void;
  warn(context: object, message: string): void;
  error(context: object, message: string): void;
}

export const silentLog: Log = { info() {}, warn() {}, error() {} };
