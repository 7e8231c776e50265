/** The connections of a server whose sockets are open, and which of them count against which limit. */
import { OpenList, type Place } from "../net/openList.ts"

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

/** What a connection counts against, until its socket is closed. */
export class Membership {
  readonly connection: OpenConnection
  private readonly connections: OpenConnections
  private readonly inAll: Place<OpenConnection>
  private inSilent: Place<Membership> | undefined
  private isAdmitted = false

  constructor(connection: OpenConnection, connections: OpenConnections) {
    this.connection = connection
    this.connections = connections
    this.inAll = connections.all.add(connection)
    this.inSilent = connections.silent.add(this)
  }

  /** Notes that the connection negotiates. Returns whether it is within the limit of connections. */
  admit(): boolean {
    const { connections } = this
    if (connections.admitted >= connections.limits.connections) return false
    this.leaveSilent()
    this.isAdmitted = true
    connections.admitted++
    return true
  }

  /** Notes that the socket is closed. */
  end(): void {
    const { connections } = this
    connections.all.remove(this.inAll)
    this.leaveSilent()
    if (this.isAdmitted) connections.admitted--
  }

  leaveSilent(): void {
    if (this.inSilent !== undefined) this.connections.silent.remove(this.inSilent)
    this.inSilent = undefined
  }
}

/**
 * A peer that connects and does not negotiate costs a socket and some kilobytes, and nothing tells it from an MTA. Such
 * connections count apart: they cannot use up the connections of the MTAs, and the oldest one ends when there are too many.
 * Connections over the limit count with them until they close: an MTA does so at once.
 */
export class OpenConnections {
  readonly limits: ConnectionLimits
  readonly all = new OpenList<OpenConnection>()
  /** Before their negotiation, and those over the limit of connections. */
  readonly silent = new OpenList<Membership>()
  /** How many are within the limit of connections. */
  admitted = 0

  constructor(limits: ConnectionLimits) {
    this.limits = limits
  }

  add(connection: OpenConnection): Membership {
    const membership = new Membership(connection, this)
    if (this.silent.size > this.limits.silentConnections) {
      const oldest = this.silent.oldest!
      // Its socket may close later; the next one that comes must find another.
      oldest.leaveSilent()
      oldest.connection.makeRoom()
    }
    return membership
  }
}
