/** Adapts the service `Dns` to mailauth, which calls functions like `dns.promises.resolve`. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { DnsError, type DnsErrorReason, type RecordType } from "./dnsError.ts"
import { isCostly } from "./publicKey.ts"
import type { Resolve } from "./resolve.ts"

/** The error codes of c-ares, which mailauth expects. */
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
 * The part of the time after which a check may send no more queries. Keys and SPF records are on name servers of the sender's
 * choice, and are asked for in that order before the author's policy: a server that hangs must not use up the time of the
 * next check. The share depends on the check, not on the name: SPF asks for names of the sender's choice, even `_dmarc` ones.
 */
const shares = { keys: 0.5, spf: 0.75, dmarc: 1 }

/** The error by which mailauth knows a key that cannot be used. */
const unusable = (): Error => Object.assign(new Error("key too costly"), { code: "EINVALIDVAL" })

/** Longest record of SPF that is read: mailauth's time for one grows with its square. RFC 7208 3.4 recommends 450 bytes. */
const longestSpf = 4096

/** Leaves out long texts that are not SPF's, such as explanations; a long record of SPF is a permanent error. */
const shortOf = (texts: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (texts.some((text) => text.length > longestSpf && /^\s*v=spf1/i.test(text))) {
    throw Object.assign(new Error("SPF"), { spfResult: { error: "permerror", text: "record too large" } })
  }
  return texts.filter((text) => text.length <= longestSpf)
}

/**
 * Makes the resolvers of a message. Queries run until `signal` is aborted, and for `timeout` milliseconds from the first one
 * on. Later queries fail at once, so the check ends in time, with the results so far and `temperror` for the others.
 */
export const resolvers = (resolve: Resolve, timeout: number, signal: AbortSignal): Effect.Effect<Resolvers> =>
  Effect.gen(function*() {
    const run = Effect.runPromiseWith(yield* Effect.context())
    let begin: number | undefined
    const within = (share: number, select = (texts: ReadonlyArray<string>) =>
      texts): Resolver =>
    async (name, type = "A") => {
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
      const records = type === "TXT"
        ? select(result.success.filter((record) => typeof record === "string")).map((text) => [text])
        : result.success
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
      spf: within(shares.spf, shortOf),
      dmarc: within(shares.dmarc)
    }
  })
