/**
 * The interface between a session and a byte stream. With it the engine runs on a Node socket, in memory and on the sockets of
 * Effect. Callbacks are called after `open`, and never after `closed`.
 */
export interface Handlers {
  readonly data: (chunk: Uint8Array) => void
  /** The peer has closed its side in order: no more data will come. */
  readonly end: () => void
  /** There is room to write again, after `write` returned false. */
  readonly drain: () => void
  /** The connection is closed: after `end`, `close` or `destroy`, or by an error such as a reset. Called last, and once. */
  readonly closed: (error: unknown) => void
}

export interface Transport {
  /** The name of the peer, for logs. */
  readonly peer: string
  /** The IP address of the peer; undefined if the peer has no address (a UNIX socket, memory), "" if it is not known. */
  readonly address: string | undefined
  /** Starts the flow of data. */
  readonly open: (handlers: Handlers) => void
  /** Queues bytes; false asks the caller to wait for `drain`. The bytes must not change afterwards. */
  readonly write: (bytes: Uint8Array) => boolean
  readonly pause: () => void
  readonly resume: () => void
  /** Closes in order, after all written bytes have been sent. */
  readonly close: () => void
  /** Closes at once; written bytes may be lost. */
  readonly destroy: () => void
}
