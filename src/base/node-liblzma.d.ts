// What is used of node-liblzma, which is not installed everywhere: its own types are then missing too.
declare module "node-liblzma" {
  /** Works in a thread of libuv's. @param options liblzma's own numbers */
  export function xzAsync(plain: Buffer, options: { readonly preset: number; readonly check: number }): Promise<Buffer>;

  export function versionString(): string;

  export class Unxz {
    /** Told of as protected: it is for what extends this. */
    protected readonly lzma: {
      /** @param action liblzma's number @returns liblzma's status, the bytes left to read, and those left to write to */
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
