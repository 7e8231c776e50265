/**
 * The four things a session needs of a byte stream, so that the engine runs on a Node socket, in memory and on Effect's
 * sockets alike. Callbacks never fire before `open` and never after `closed`.
 */
export interface Handlers {
  readonly data: (chunk: Uint8Array) => void
  /** The peer has closed its side in order: nothing more will come. */
  readonly end: () => void
  /** Room to write again, after `write` returned false. */
  readonly drain: () => void
  /** Gone, after `end`, `close` or `destroy` or with an error such as a reset. Always the last callback, exactly once. */
  readonly closed: (error: unknown) => void
}

export interface Transport {
  /** Who is at the other end, for logs. */
  readonly peer: string
  /** Its IP address; undefined where there is none (a UNIX socket, memory), "" where it is not known. */
  readonly address: string | undefined
  /** Starts the flow of data. */
  readonly open: (handlers: Handlers) => void
  /** Queues bytes; false asks to wait for `drain`. The bytes must not change afterwards. */
  readonly write: (bytes: Uint8Array) => boolean
  readonly pause: () => void
  readonly resume: () => void
  /** Closes in order, after what was written is out. */
  readonly close: () => void
  /** Closes at once; what was written may be lost. */
  readonly destroy: () => void
}
