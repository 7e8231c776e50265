/** Effect's DNS for mailauth, which wants functions like `dns.promises.resolve`. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { DnsError, type DnsErrorReason, type RecordType, type Resolve } from "./dnsError.ts"
import { isCostly } from "./publicKey.ts"

/** As c-ares calls them; mailauth goes by these. */
const codes: { readonly [K in DnsErrorReason]: string } = {
  NotFound: "ENOTFOUND",
  NoData: "ENODATA",
  BadName: "EBADNAME",
  Timeout: "ETIMEOUT",
  Failed: "ESERVFAIL"
}

export type Resolver = (name: string, type?: string) => Promise<Array<string> | Array<Array<string>>>

/** A resolver for each check. */
export interface Resolvers {
  readonly keys: Resolver
  readonly spf: Resolver
  readonly dmarc: Resolver
}

const types: { readonly [type: string]: RecordType } = {
  A: "A",
  AAAA: "AAAA",
  CNAME: "CNAME",
  MX: "MX",
  PTR: "PTR",
  TXT: "TXT"
}

/**
 * The part of the time after which a check may ask no more. Keys and records of SPF are asked for at name servers of the
 * sender's choice, in that order and before the author's policy: one that hangs must not use up the time of the next check.
 * It goes by the check, not by the name: SPF asks for names of the sender's choice, `_dmarc` in front or not.
 */
const shares = { keys: 0.5, spf: 0.75, dmarc: 1 }

/** mailauth's name for a key that cannot be used. */
const unusable = (): Error => Object.assign(new Error("key too costly"), { code: "EINVALIDVAL" })

/**
 * Queries run until `signal` is aborted, and together for `timeout` milliseconds from the first one on: those after that
 * fail at once, and so the check as a whole ends in time, with what it has and `temperror` for the rest.
 */
export const resolvers = (resolve: Resolve, timeout: number, signal: AbortSignal): Effect.Effect<Resolvers> =>
  Effect.gen(function*() {
    const run = Effect.runPromiseWith(yield* Effect.context())
    let begin: number | undefined
    const within = (share: number): Resolver => async (name, type = "A") => {
      const known = types[type]
      const late = new DnsError({ reason: "Timeout", name, type })
      const query = known === undefined
        ? Effect.fail(new DnsError({ reason: "NoData", name, type }))
        : resolve(name, known)
      const result = await run(
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          begin ??= now
          const end = begin + timeout * share
          return now >= end
            ? Effect.fail(late)
            : Effect.timeoutOrElse(query, { duration: end - now, orElse: () => Effect.fail(late) })
        }).pipe(Effect.result),
        { signal }
      )
      if (Result.isFailure(result)) {
        throw Object.assign(new Error(result.failure.message), { code: codes[result.failure.reason] })
      }
      const records = type === "TXT" ? result.success.map((text) => [text]) : result.success
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- records of MX are objects, which mailauth's type for resolvers leaves out
      return records as Array<string>
    }
    const keys = within(shares.keys)
    return {
      keys: async (name, type) => {
        const records = await keys(name, type)
        if (records.flat().some(isCostly)) throw unusable()
        return records
      },
      spf: within(shares.spf),
      dmarc: within(shares.dmarc)
    }
  })
