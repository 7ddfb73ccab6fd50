// The interface for logging. The server passes a pino logger.

/** Structured logging; `context` never contains a cap, token or key. */
export interface Log {
  info(context: object, message: string): void;
  warn(context: object, message: string): void;
  error(context: object, message: string): void;
}

export const silentLog: Log = { info() {}, warn() {}, error() {} };
