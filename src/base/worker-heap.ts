// The heap settings of all worker threads.

/** The size of a thread's young generation, in MiB. The default of Node.js suits whole programs. */
export const youngHeapMebibytes = 8;
