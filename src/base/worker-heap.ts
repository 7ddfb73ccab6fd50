// How the heaps of all our threads are divided.

/** The part of a thread's heap that fills with what lives short, in MiB: Node's default is made for whole programs. */
export const youngHeapMebibytes = 8;
