// A Buffer view of any bytes.

/** @returns a Buffer that shares the memory of the bytes */
export const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
