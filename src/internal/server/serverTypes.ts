/** The options and the status of a server. Re-exported by `MilterServer`. */
import type * as Duration from "effect/Duration"
import type { Failure } from "../observe/failures.ts"

/**
 * Options of {@link layer}. All have defaults. Durations are Effect's (`"8 seconds"`, or milliseconds).
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * Connections at a time that have negotiated; 1000 by default. Any more get 421 at connect, so that the client comes
   * back.
   */
  readonly maxConnections?: number
  /**
   * Connections at a time that have not negotiated yet, or are over `maxConnections`; 1000 by default. They do not count as
   * `maxConnections`. One more ends the oldest of them. MTAs negotiate at once, and close at once after a 421.
   */
  readonly maxSilentConnections?: number
  /**
   * The longest frame taken from an MTA, in bytes without its length field; 1 MiB by default. Real MTAs stay below 64 KiB,
   * except for headers that another filter added. A longer one ends the connection.
   */
  readonly maxFrameLength?: number
  /** Header fields of a message, as far as the filter takes headers; unlimited by default. See {@link Options.tooLarge}. */
  readonly maxHeaders?: number
  /** Bytes of all names and values of a message's header fields; unlimited by default. */
  readonly maxHeaderBytes?: number
  /** Bytes of a message's body, as far as the filter takes the body; unlimited by default. */
  readonly maxBodyBytes?: number
  /**
   * What happens to a message over one of these limits: `reject` (552 5.3.4, the default), or `pass` without this filter. A filter
   * that is content with the beginning of a body says so itself: `tooLarge: "truncate"` of `Message.make`, or `Verdict.skipBody`.
   */
  readonly tooLarge?: "reject" | "pass"
  /** Recipients of a message; unlimited by default. Any more get 452 4.5.3: the sender sends them another message. */
  readonly maxRecipients?: number
  /**
   * Modifications of a message by all filters together, 500 by default; a replaced body does not count. A message that
   * would get more is refused (550 5.7.1) with a warning in the log: it does not pass with a part of them. Postfix's
   * `cleanup` crashes from some 10,000 on, and the author of a mail may choose how many a filter makes, for example by
   * header fields that the filter deletes.
   */
  readonly maxModifications?: number
  /** Macros kept of a session; 512 by default. The surplus is dropped with a warning. */
  readonly maxMacros?: number
  /** Bytes of macros kept of a session; 64 KiB by default. */
  readonly maxMacroBytes?: number
  /** Commands that may wait for a running hook before reading pauses; 64 by default. It pauses at 256 KiB of them, too. */
  readonly maxQueuedPackets?: number
  /**
   * Networks that may connect, such as `["192.0.2.0/24", "::1"]`; everybody by default. Others are closed before the
   * negotiation. UNIX sockets have permissions instead.
   */
  readonly peers?: ReadonlyArray<string>
  /**
   * From the arrival of a command to its answer, before end of message; 8 seconds by default (Sendmail waits 10, Postfix 30).
   * A hook that takes longer is interrupted and answered by `onDefect`.
   */
  readonly commandTimeout?: Duration.Input
  /** The same for end of message; 4 minutes by default, 9 at most: SMTP clients give up after 10 and send it again. */
  readonly endOfMessageTimeout?: Duration.Input
  /** How often the MTA gets a sign of life while end of message takes its time; 5 seconds by default. */
  readonly progressInterval?: Duration.Input
  /**
   * From the arrival of a connection to its negotiation; 10 seconds by default, then it is closed. A connection over
   * `maxConnections` is closed this long after its negotiation, if the peer does not close it after the 421.
   */
  readonly negotiationTimeout?: Duration.Input
  /** Between two commands; 2 hours by default, since SMTP clients may idle. */
  readonly idleTimeout?: Duration.Input
  /** From the first byte of a frame to its last; 1 minute by default. */
  readonly frameTimeout?: Duration.Input
  /** How long an MTA may take to read an answer; 30 seconds by default. */
  readonly writeTimeout?: Duration.Input
  /** How long a hook may take to stop after its interruption; 10 seconds by default, then its connection is closed. */
  readonly stopTimeout?: Duration.Input
  /** How long messages in progress may take to end when the server stops; 1 minute by default. */
  readonly drainTimeout?: Duration.Input
}

/**
 * A server of this process, as reported by {@link status}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status {
  /** The name of the server's filter. */
  readonly filter: string
  readonly addresses: ReadonlyArray<string>
  /** `starting` before the server listens; `draining` when it stops: it no longer listens, and messages in progress end. */
  readonly state: "starting" | "listening" | "draining"
  /** Connections that are open, each with one SMTP session. */
  readonly sessions: number
  /** The last failures, at most ten, the oldest first. */
  readonly failures: ReadonlyArray<Failure>
}
