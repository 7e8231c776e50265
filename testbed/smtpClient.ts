/**
 * An SMTP client that does what it is told, byte by byte, for looking at what an MTA answers.
 *
 * It never repairs anything: a refused MAIL is an answer like any other, and so is a connection that ends, since whether
 * a filter's verdict closes the session is one of the things to test. Only what no MTA may do (say nothing at all) is a
 * failure. All waits are in real time, whatever the test's clock is, because the MTA lives in real time.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { realTime } from "./realTime.ts"
import { forEvent } from "./timeLimits.ts"

/** The connection could not be made, or an answer did not come in time. */
export class SmtpClientError extends Data.TaggedError("SmtpClientError")<{
  readonly message: string
}> {}

/**
 * What the server said, or that it hung up instead.
 *
 * - `code`: three digits as a number, 0 where the connection ended instead of a reply
 * - `enhanced`: the status after the code of the last line, such as `5.7.1`
 * - `lines`: each line's text after the code and separator, enhanced code included
 * - `text`: the lines as received, joined with LF; `<end>` or `<reset>` where the connection ended
 * - `ended`: how it ended: `end` an orderly close (FIN), `reset` an RST, or undefined for a reply
 */
export interface Reply {
  readonly code: number
  readonly enhanced: string | undefined
  readonly lines: ReadonlyArray<string>
  readonly text: string
  readonly ended: Ending | undefined
}

/** How the server's side of a connection ended. */
export type Ending = "end" | "reset"

/** One message for {@link SmtpConnection.sendMail}. */
export interface Mail {
  /** Envelope sender without angle brackets; empty for the null sender. */
  readonly from: string
  /** Envelope recipients without angle brackets. */
  readonly to: string | ReadonlyArray<string>
  /** Complete message with CR LF line ends: a string of one char per byte, or bytes. */
  readonly message: string | Uint8Array
  /** ESMTP parameters after MAIL FROM, such as `BODY=8BITMIME`. */
  readonly mailParameters?: string
  /** ESMTP parameters after each RCPT TO, such as `NOTIFY=NEVER`. */
  readonly rcptParameters?: string
}

/**
 * How far a message got. A step that was not reached, because the one before it was refused, is undefined.
 *
 * - `message`: the answer to the content, after the final dot
 * - `last`: the answer to the last step that was reached
 * - `queueId`: from Postfix's `queued as ...` or Sendmail's `... Message accepted`, when the message was
 */
export interface MailResult {
  readonly mail: Reply
  readonly rcpt: ReadonlyArray<Reply>
  readonly data: Reply | undefined
  readonly message: Reply | undefined
  readonly last: Reply
  readonly accepted: boolean
  readonly queueId: string | undefined
}

/** An open SMTP connection. One command at a time; strings are one char per byte (latin1). */
export interface SmtpConnection {
  /** Sends one command line (CR LF is added) and reads its reply. */
  readonly command: (line: string) => Effect.Effect<Reply, SmtpClientError>
  /** Sends the lines in one write and then reads one reply for each. After the connection ended, all others say so too. */
  readonly pipeline: (lines: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<Reply>, SmtpClientError>
  /** Writes exactly these bytes and reads nothing. */
  readonly raw: (bytes: string | Uint8Array) => Effect.Effect<void, SmtpClientError>
  /** Reads one reply, for use after `raw`. */
  readonly read: Effect.Effect<Reply, SmtpClientError>
  /** DATA and, if that is answered 354, the message. The result is the reply to the last of them that was sent. */
  readonly data: (message: string | Uint8Array) => Effect.Effect<Reply, SmtpClientError>
  /** Dot-stuffs and sends the message with its final dot and reads the reply; DATA has been answered before. */
  readonly content: (message: string | Uint8Array) => Effect.Effect<Reply, SmtpClientError>
  /** One whole transaction, as far as the server lets it go. Says EHLO first if nothing was said yet. */
  readonly sendMail: (mail: Mail) => Effect.Effect<MailResult, SmtpClientError>
  /** QUIT, its reply, and waits for the server to hang up. */
  readonly quit: Effect.Effect<Reply, SmtpClientError>
  /** Hangs up without QUIT: FIN. */
  readonly close: Effect.Effect<void>
  /** Hangs up with an RST. */
  readonly reset: Effect.Effect<void>
  /** Whether either side has ended the connection, as far as has been noticed. */
  readonly isClosed: Effect.Effect<boolean>
  /** Waits for the server to hang up, and says how; fails after the timeout. Unread replies are skipped. */
  readonly awaitClosed: Effect.Effect<Ending, SmtpClientError>
}

/** A connection whose greeting has been read. */
export interface SmtpClient extends SmtpConnection {
  /** The 220, the refusal in its place, or the end of the connection. */
  readonly greeting: Reply
}

/** Options of {@link connect} and {@link open}. */
export interface Options {
  /** Where the server listens; 127.0.0.1 by default. */
  readonly host?: string
  /** Longest wait for one reply, in milliseconds; 60000 by default. */
  readonly timeout?: number
}

/** Each char to the byte of its code; what is above 255 has no business here and loses its high bits. */
const latin1 = (text: string): Uint8Array => Buffer.from(text, "latin1")

const toBytes = (content: string | Uint8Array): Uint8Array => typeof content === "string" ? latin1(content) : content

/** Any text to CR LF line ends, so that tests can be written with template strings. */
export const crlf = (text: string): string => text.replace(/\r?\n/g, "\r\n")

/**
 * The message as DATA wants it: leading dots doubled, CR LF at the end, the final dot.
 *
 * Dots after a bare LF are doubled as well: Postfix takes a bare LF for a line end, and would see the end of the message.
 */
export const dotStuff = (message: string | Uint8Array): Uint8Array => {
  const source = typeof message === "string" ? message : Buffer.from(message).toString("latin1")
  const stuffed = source.replace(/^\.|\n\./g, (dot) => `${dot}.`)
  return latin1(`${stuffed}${stuffed === "" || stuffed.endsWith("\r\n") ? "" : "\r\n"}.\r\n`)
}

const endedReply = (ended: Ending): Reply => ({ code: 0, enhanced: undefined, lines: [], text: `<${ended}>`, ended })

const makeReply = (raw: ReadonlyArray<string>): Reply => {
  const lines = raw.map((line) => line.slice(4))
  return {
    code: Number(raw[raw.length - 1]?.slice(0, 3)),
    enhanced: /^[245]\.\d{1,3}\.\d{1,3}(?= |$)/.exec(lines[lines.length - 1] ?? "")?.[0],
    lines,
    text: raw.join("\n"),
    ended: undefined
  }
}

const isSuccess = (reply: Reply): boolean => reply.code >= 200 && reply.code < 300

const within = <A, E>(timeout: number, what: string, effect: Effect.Effect<A, E>) =>
  realTime(Effect.timeoutOrElse(effect, {
    duration: timeout,
    orElse: () => Effect.fail(new SmtpClientError({ message: `${what}: nothing after ${timeout} ms` }))
  }))

/** The socket with what it has received, cut into replies. One reader at a time. */
class Connection {
  readonly socket: Net.Socket
  private buffered = ""
  private lines: Array<string> = []
  private readonly replies: Array<Reply> = []
  private waiter: (() => void) | undefined
  ended: Ending | undefined

  constructor(socket: Net.Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on("data", (chunk: Buffer) => this.receive(chunk.toString("latin1")))
    socket.on("end", () => this.end("end"))
    socket.on("error", () => this.end("reset"))
    socket.on("close", () => this.end("end"))
  }

  /** A reply ends with the first line that has three digits and no hyphen; whatever else comes before it is kept. */
  private receive(text: string): void {
    const lines = (this.buffered + text).split("\r\n")
    this.buffered = lines.pop() ?? ""
    for (const line of lines) {
      this.lines.push(line)
      if (/^\d{3}(?: |$)/.test(line)) {
        this.replies.push(makeReply(this.lines))
        this.lines = []
      }
    }
    this.waiter?.()
  }

  private end(ending: Ending): void {
    this.ended ??= ending
    this.waiter?.()
  }

  next(): Reply | undefined {
    return this.replies.shift() ?? (this.ended === undefined ? undefined : endedReply(this.ended))
  }

  /** Waits until `probe` has something, now or after more has been received. */
  wait<A>(probe: () => A | undefined, what: string, timeout: number): Effect.Effect<A, SmtpClientError> {
    return within(
      timeout,
      what,
      Effect.callback<A>((resume) => {
        const look = () => {
          const found = probe()
          if (found === undefined) return
          this.waiter = undefined
          resume(Effect.succeed(found))
        }
        this.waiter = look
        look()
        return Effect.sync(() => {
          this.waiter = undefined
        })
      })
    )
  }

  /** Writing to a connection that has ended is not an error: the next read says what happened. */
  write(bytes: Uint8Array): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (this.ended !== undefined || !this.socket.writable) {
        resume(Effect.void)
        return
      }
      const done = () => {
        this.socket.off("close", done)
        resume(Effect.void)
      }
      // The server may hang up before it has read all of a large message: then the write's callback may never come.
      this.socket.once("close", done)
      this.socket.write(bytes, done)
    })
  }
}

const openSocket = (port: number, host: string, timeout: number): Effect.Effect<Connection, SmtpClientError> =>
  within(
    timeout,
    `connecting to ${host} port ${port}`,
    Effect.callback<Connection, SmtpClientError>((resume) => {
      // Half-open, so that a FIN from the server does not lose what it said before, nor decide when this side closes.
      const socket = Net.connect({ port, host, allowHalfOpen: true })
      const fail = ({ message }: Error) => {
        socket.destroy()
        resume(Effect.fail(new SmtpClientError({ message: `connecting to ${host} port ${port}: ${message}` })))
      }
      socket.once("error", fail)
      socket.once("connect", () => {
        const connection = new Connection(socket)
        socket.off("error", fail)
        resume(Effect.succeed(connection))
      })
      return Effect.sync(() => socket.destroy())
    })
  )

const makeConnection = (connection: Connection, timeout: number): SmtpConnection => {
  let greeted = false
  const read = (what: string) => connection.wait(() => connection.next(), `reply to ${what}`, timeout)

  const command = Effect.fnUntraced(function*(line: string) {
    greeted = true
    yield* connection.write(latin1(`${line}\r\n`))
    return yield* read(line)
  })

  const content = Effect.fnUntraced(function*(message: string | Uint8Array) {
    yield* connection.write(dotStuff(message))
    return yield* read("the message")
  })

  const sendMail = Effect.fnUntraced(function*(mail: Mail): Effect.fn.Return<MailResult, SmtpClientError> {
    if (!greeted) yield* command("EHLO client.example.org")
    const rcpt: Array<Reply> = []
    const finish = (result: Pick<MailResult, "mail" | "data" | "message" | "last">): MailResult => {
      const accepted = result.message !== undefined && isSuccess(result.message)
      return {
        ...result,
        rcpt,
        accepted,
        queueId: accepted
          ? /queued as (\w+)$|^250 2\.0\.0 (\w+) Message accepted/.exec(result.message.text)?.slice(1).join("")
          : undefined
      }
    }
    const parameters = (text: string | undefined) => text === undefined ? "" : ` ${text}`
    const answer = yield* command(`MAIL FROM:<${mail.from}>${parameters(mail.mailParameters)}`)
    const refused = (last: Reply) => finish({ mail: answer, data: undefined, message: undefined, last })
    if (!isSuccess(answer)) return refused(answer)
    let last = answer
    for (const recipient of typeof mail.to === "string" ? [mail.to] : mail.to) {
      last = yield* command(`RCPT TO:<${recipient}>${parameters(mail.rcptParameters)}`)
      rcpt.push(last)
    }
    if (!rcpt.some(isSuccess)) return refused(last)
    const data = yield* command("DATA")
    if (data.code !== 354) return finish({ mail: answer, data, message: undefined, last: data })
    const message = yield* content(mail.message)
    return finish({ mail: answer, data, message, last: message })
  })

  const awaitClosed = connection.wait(() => connection.ended, "end of the connection", timeout)

  return {
    command,
    content,
    sendMail,
    awaitClosed,
    pipeline: Effect.fnUntraced(function*(lines) {
      greeted = true
      yield* connection.write(latin1(lines.map((line) => `${line}\r\n`).join("")))
      return yield* Effect.forEach(lines, read)
    }),
    raw: (bytes) => {
      greeted = true
      return connection.write(toBytes(bytes))
    },
    read: read("what was sent"),
    data: Effect.fnUntraced(function*(message) {
      const answer = yield* command("DATA")
      return answer.code === 354 ? yield* content(message) : answer
    }),
    quit: Effect.gen(function*() {
      const answer = yield* command("QUIT")
      yield* awaitClosed
      connection.socket.destroy()
      return answer
    }),
    close: Effect.sync(() => {
      connection.socket.end()
      connection.ended ??= "end"
    }),
    reset: Effect.sync(() => {
      connection.socket.resetAndDestroy()
      connection.ended ??= "reset"
    }),
    isClosed: Effect.sync(() => connection.ended !== undefined || connection.socket.destroyed)
  }
}

/** Connects without waiting for the greeting, which is then the first reply to `read`. Closed with the scope. */
export const open = Effect.fnUntraced(
  function*(port: number, options?: Options): Effect.fn.Return<SmtpConnection, SmtpClientError, Scope.Scope> {
    const timeout = options?.timeout ?? forEvent
    const connection = yield* Effect.acquireRelease(
      openSocket(port, options?.host ?? "127.0.0.1", timeout),
      (connection) => Effect.sync(() => connection.socket.destroy()),
      { interruptible: true }
    )
    return makeConnection(connection, timeout)
  }
)

/** Connects and reads the greeting. Closed with the scope, without QUIT. */
export const connect = Effect.fnUntraced(
  function*(port: number, options?: Options): Effect.fn.Return<SmtpClient, SmtpClientError, Scope.Scope> {
    const connection = yield* open(port, options)
    return { ...connection, greeting: yield* connection.read }
  }
)
