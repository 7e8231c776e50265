/** DNS by Node's resolver (c-ares). */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { promises } from "node:dns"
import { DnsError, type DnsErrorReason, type Records, type RecordType } from "./dnsError.ts"
import type { DnsOptions } from "./dnsTypes.ts"
import type { Resolve } from "./resolve.ts"

const reasons: { readonly [code: string]: DnsErrorReason } = {
  ENOTFOUND: "NotFound",
  ENODATA: "NoData",
  EBADNAME: "BadName",
  ETIMEOUT: "Timeout"
}

const failed = (name: string, type: RecordType, cause: unknown): DnsError => {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : ""
  return new DnsError({ reason: reasons[code] ?? "Failed", name, type, cause })
}

const queries: {
  readonly [T in RecordType]: (
    resolver: promises.Resolver,
    name: string
  ) => Promise<ReadonlyArray<Records[T]>>
} = {
  A: (resolver, name) => resolver.resolve4(name),
  AAAA: (resolver, name) => resolver.resolve6(name),
  CNAME: (resolver, name) => resolver.resolveCname(name),
  MX: (resolver, name) => resolver.resolveMx(name),
  PTR: (resolver, name) => resolver.resolvePtr(name),
  TXT: async (resolver, name) => (await resolver.resolveTxt(name)).map((parts) => parts.join(""))
}

export const make = (options: DnsOptions) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const { servers, timeout, tries } = options
        const resolver = new promises.Resolver({
          timeout: timeout === undefined ? 2000 : Math.ceil(Duration.toMillis(timeout)),
          tries: tries ?? 3
        })
        if (servers !== undefined) resolver.setServers(servers)
        return resolver
      }),
      (resolver) => Effect.sync(() => resolver.cancel())
    ),
    (resolver): Resolve => (name, type) =>
      Effect.flatMap(
        Effect.tryPromise({ try: () => queries[type](resolver, name), catch: (cause) => failed(name, type, cause) }),
        (records) =>
          records.length === 0
            ? Effect.fail(new DnsError({ reason: "NoData", name, type }))
            : Effect.succeed(records)
      )
  )
