// What is used of node-liblzma, which is not installed everywhere: its own types are then missing too.
declare module "node-liblzma" {
  /** @param options liblzma's own numbers */
  export function xzSync(plain: Buffer, options: { readonly preset: number; readonly check: number }): Buffer;
}
