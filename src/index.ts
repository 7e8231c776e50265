/**
 * All modules of the package, each under its name. Import a module by its own entry (`effect-milter/Milter`) where load
 * time counts.
 *
 * @since 0.1.0
 */

/**
 * Where an SMTP client connects from, as the MTA reports it, and networks to compare it with.
 *
 * @since 0.1.0
 */
export * as ClientAddress from "./ClientAddress.ts"

/**
 * What becomes of a message: the modifications of a filter, carried out as an MTA would.
 *
 * @since 0.1.0
 */
export * as Delivery from "./Delivery.ts"

/**
 * Envelope addresses and ESMTP parameters: reading those of MAIL and RCPT, checking those that a filter sends.
 *
 * @since 0.1.0
 */
export * as Envelope from "./Envelope.ts"

/**
 * Framing: a stream of bytes cut into frames, each a length (four bytes, the highest first), a code byte and a
 * payload.
 *
 * @since 0.1.0
 */
export * as Frame from "./Frame.ts"

/**
 * Names and values of header fields: checking and encoding what goes into a message, reading what comes out of one.
 *
 * @since 0.1.0
 */
export * as Header from "./Header.ts"

/**
 * The error for a value that an author of a filter supplied and that cannot go on the wire.
 *
 * @since 0.1.0
 */
export * as InvalidValue from "./InvalidValue.ts"

/**
 * Macros: named values that the MTA tells a filter ahead of a command (queue id, client, TLS, authenticated user).
 *
 * @since 0.1.0
 */
export * as Macros from "./Macros.ts"

/**
 * Filters: what users of this library write.
 *
 * @since 0.1.0
 */
export * as Milter from "./Milter.ts"

/**
 * The MTA's side of the protocol: connects to any milter and sends it the stages of an SMTP session.
 *
 * @since 0.1.0
 */
export * as MilterClient from "./MilterClient.ts"

/**
 * Serves a filter.
 *
 * @since 0.1.0
 */
export * as MilterServer from "./MilterServer.ts"

/**
 * Tests of filters without sockets and without waiting.
 *
 * @since 0.1.0
 */
export * as MilterTest from "./MilterTest.ts"

/**
 * What a filter can do to a message at its end: the closed set of modifications, the capability each needs, and the
 * editor through which a hook makes them.
 *
 * @since 0.1.0
 */
export * as Modification from "./Modification.ts"

/**
 * The first exchange on a milter connection: the MTA offers a version, actions and protocol steps, the filter answers
 * with what it wants of them.
 *
 * @since 0.1.0
 */
export * as Negotiation from "./Negotiation.ts"

/**
 * The packets of the milter protocol: every command of an MTA and every reply of a filter.
 *
 * @since 0.1.0
 */
export * as Packet from "./Packet.ts"

/**
 * A message as SMTP servers and files have it, taken apart and taken through a filter.
 *
 * @since 0.1.0
 */
export * as RawMessage from "./RawMessage.ts"

/**
 * Recorded conversations of MTAs and filters.
 *
 * @since 0.1.0
 */
export * as Recording from "./Recording.ts"

/**
 * SMTP replies that a filter words itself: plain text in, the exact bytes of a reply-code packet out, and back.
 *
 * @since 0.1.0
 */
export * as Reply from "./Reply.ts"

/**
 * The stages of an SMTP session as a filter sees them, what a hook receives at each, and what it can look up
 * meanwhile.
 *
 * @since 0.1.0
 */
export * as Stage from "./Stage.ts"

/**
 * What a hook decides.
 *
 * @since 0.1.0
 */
export * as Verdict from "./Verdict.ts"

/**
 * Byte layouts: the strings of bytes that packets hold, a reader and a writer, and the fields from which packets are
 * declared.
 *
 * @since 0.1.0
 */
export * as Wire from "./Wire.ts"
