/** The connections of a server whose sockets are open, and which of them count against which limit. */

/** A connection as the server sees it. */
export interface OpenConnection {
  /** Looks at its deadlines. */
  readonly tick: (now: number) => void
  /** Ends it to make room for a newer one. */
  readonly makeRoom: () => void
  /** Closes the socket, with what was written and not taken. */
  readonly destroy: () => void
}

interface ConnectionLimits {
  readonly connections: number
  readonly silentConnections: number
}

/**
 * A peer that connects and does not negotiate costs a socket and some kilobytes, and nothing tells it from an MTA. Such
 * connections count apart: they cannot use up the connections of the MTAs, and the oldest one ends when there are too many.
 * Connections over the limit count with them until they close: an MTA does so at once.
 */
export class OpenConnections {
  private readonly limits: ConnectionLimits
  private readonly all = new Set<OpenConnection>()
  /** Before their negotiation, and those over the limit of connections; the oldest first. */
  private readonly silent = new Set<OpenConnection>()
  /** Within the limit of connections. */
  private readonly admitted = new Set<OpenConnection>()

  constructor(limits: ConnectionLimits) {
    this.limits = limits
  }

  get size(): number {
    return this.all.size
  }

  [Symbol.iterator](): Iterator<OpenConnection> {
    return this.all.values()
  }

  add(connection: OpenConnection): void {
    this.all.add(connection)
    this.silent.add(connection)
    if (this.silent.size <= this.limits.silentConnections) return
    const [oldest] = this.silent
    // Its socket may close later; the next one that comes must find another.
    this.silent.delete(oldest!)
    oldest!.makeRoom()
  }

  /** Notes that a connection negotiates. Returns whether it is within the limit of connections. */
  admit(connection: OpenConnection): boolean {
    if (this.admitted.size >= this.limits.connections) return false
    this.silent.delete(connection)
    this.admitted.add(connection)
    return true
  }

  delete(connection: OpenConnection): void {
    this.all.delete(connection)
    this.silent.delete(connection)
    this.admitted.delete(connection)
  }
}
