// Types for the parts of node-liblzma that are used. It is an optional dependency, so its own types may be absent.
declare module "node-liblzma" {
  /** Runs in a thread of libuv. @param options with the numbers of liblzma */
  export function xzAsync(plain: Buffer, options: { readonly preset: number; readonly check: number }): Promise<Buffer>;

  export function versionString(): string;

  export class Unxz {
    /** Declared as protected: it is meant for subclasses. */
    protected readonly lzma: {
      /**
       * @param action a number of liblzma
       * @returns the status of liblzma, the unread bytes and the unused output bytes
       */
      codeSync(
        action: number,
        input: Buffer,
        at: number,
        bytes: number,
        output: Buffer,
        outputAt: number,
      ): readonly [status: number, unread: number, unused: number];
    };
    close(): void;
  }
}
