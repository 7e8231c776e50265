/** The check of one message. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { ByteString } from "../../internal/bytes/byteString.ts"
import type { Envelope, Header, Session } from "../../Stage.ts"
import { Dns } from "../Dns.ts"
import type { Results } from "../Results.ts"
import { authorOf } from "./author.ts"
import { type Resolvers, resolvers } from "./bridge.ts"
import { claims } from "./claims.ts"
import { Feed, fieldOf } from "./content.ts"
import { HeaderBlock } from "./headerBlock.ts"
import * as mailauth from "./mailauth.ts"

export interface Settings {
  readonly authservId: string
  /** In lower case. */
  readonly ownIds: ReadonlySet<string>
  /** Milliseconds. */
  readonly timeout: number
  readonly strict: boolean
  readonly leastRsaBits: number
}

interface Running {
  readonly feed: Feed
  readonly fiber: Fiber.Fiber<Results, mailauth.MailauthError>
}

/** One message on its way through the check. */
export class Verification {
  /** Whether the message is checked at all. */
  wanted = true
  /** Which occurrences of Authentication-Results claim to be ours. */
  readonly forged: Array<number> = []
  private readonly settings: Settings
  private readonly block = new HeaderBlock()
  /** The values of the first two From fields: enough to see that there are several. */
  private readonly from: Array<ByteString> = []
  private occurrences = 0
  private running: Running | undefined

  constructor(settings: Settings) {
    this.settings = settings
  }

  header(header: Header, session: Session): void {
    // MTAs count fields with a space before the colon together with those without.
    const name = header.name.trimEnd().toLowerCase()
    if (name === "from" && this.from.length < 2) this.from.push(header.raw)
    if (name === "authentication-results") {
      this.occurrences++
      if (claims(header.value, this.settings.ownIds)) this.forged.push(this.occurrences)
    }
    if (this.wanted) this.block.add(fieldOf(header, session))
  }

  /** Starts the check; if the message is cut short, its scope ends the check. */
  start(session: Session, envelope: Envelope): Effect.Effect<void, never, Dns | Scope.Scope> {
    return Effect.gen({ self: this }, function*() {
      if (this.block.tooLarge !== undefined) return
      const { selected } = this.block
      const feed = new Feed(selected.bytes)
      const fiber = yield* withResolvers(
        this.settings,
        (resolvers) => mailauth.check(feed, this.checking(session, envelope), resolvers, selected)
      ).pipe(
        // Nothing reads any more, so a writer must not wait.
        Effect.ensuring(Effect.sync(() => feed.close())),
        Effect.forkScoped({ startImmediately: true })
      )
      this.running = { feed, fiber }
    })
  }

  body(bytes: Uint8Array): Effect.Effect<void> {
    return this.running === undefined ? Effect.void : this.running.feed.body(bytes)
  }

  /** `undefined` if the message is not checked. */
  results(session: Session, envelope: Envelope): Effect.Effect<Results | undefined, never, Dns> {
    return Effect.gen({ self: this }, function*() {
      if (!this.wanted) return undefined
      const checking = this.checking(session, envelope)
      const spfOnly = (result: "permerror" | "temperror", comment: string) =>
        withResolvers(this.settings, ({ spf }) => mailauth.checkSpf(checking, spf, result, comment)).pipe(
          Effect.orDie
        )
      if (this.running === undefined) return yield* spfOnly("permerror", this.block.tooLarge ?? "no header")
      const { feed, fiber } = this.running
      feed.end()
      // A message on which mailauth fails must not stop mail, nor pass with forged fields.
      return yield* Fiber.join(fiber).pipe(
        Effect.catchCause((cause) =>
          Effect.andThen(
            Effect.logError("The message cannot be checked", cause),
            spfOnly("temperror", "internal error")
          )
        )
      )
    })
  }

  private checking({ client, heloName }: Session, { sender }: Envelope): mailauth.Checking {
    const { authservId, leastRsaBits, strict } = this.settings
    return {
      authservId,
      leastRsaBits,
      strict,
      client: client._tag === "IPv4" || client._tag === "IPv6" ? client.address : undefined,
      helo: heloName,
      // With the `@`, the local part of a sender without a domain is not taken for a domain.
      sender: sender.isNull ? "" : `${sender.localPart}@${sender.domain}`,
      author: authorOf(this.from)
    }
  }
}

export const makeVerification = (settings: Settings): Verification => new Verification(settings)

/** Runs an effect with resolvers, whose queries end with the effect. */
const withResolvers = <A, E>(
  { timeout }: Settings,
  use: (resolvers: Resolvers) => Effect.Effect<A, E>
): Effect.Effect<A, E, Dns> =>
  Effect.acquireUseRelease(
    Effect.sync(() => new AbortController()),
    ({ signal }) => Effect.flatMap(Dns, ({ resolve }) => Effect.flatMap(resolvers(resolve, timeout, signal), use)),
    (controller) => Effect.sync(() => controller.abort())
  )
