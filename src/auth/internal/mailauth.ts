/** mailauth: its verification, what it found in words of ours, and its seals. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import {
  arc,
  type ARCData,
  type ARCResult,
  createSeal,
  type DKIMResult,
  dkimVerify,
  type DKIMVerifyResult,
  dmarc,
  type DMARCResult,
  spf,
  type SPFResult
} from "mailauth"
import { isIP } from "node:net"
import type { ArcResult, DkimResult, DmarcResult, Results, SpfResult } from "../Results.ts"
import { fold } from "./authserv.ts"
import type { Resolver, Resolvers } from "./bridge.ts"
import type { Feed } from "./content.ts"
import type { Refused, Selected } from "./headerBlock.ts"
import { asciiDomain } from "./privateKey.ts"

/** It gave up on a message, or could not make a seal. */
export class MailauthError extends Data.TaggedError("MailauthError")<{
  readonly message: string
  readonly cause: unknown
}> {}

const failed = (cause: unknown): MailauthError =>
  new MailauthError({ message: cause instanceof Error ? cause.message : "unknown", cause })

export interface Checking {
  readonly authservId: string
  readonly client: string | undefined
  readonly helo: string | undefined
  /** Without angle brackets, empty for the null sender. */
  readonly sender: string
  readonly leastRsaBits: number
  readonly strict: boolean
}

/** A word of RFC 8601, or what stands for any other. */
const oneOf = <const A extends string>(words: ReadonlyArray<A>, word: string, otherwise: A): A =>
  words.find((each) => each === word) ?? otherwise

const spfResult = (found: SPFResult, checking: Checking): SpfResult => ({
  result: oneOf(
    ["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"],
    found.status.result,
    "permerror"
  ),
  domain: found.domain,
  identity: checking.sender === "" ? "helo" : "mailfrom",
  explanation: found.explanation
})

/** What mailauth found, check by check. */
interface Found {
  /** What was kept from it. */
  readonly selected: Selected
  /** Why not all of the body was read. */
  readonly unread: string | undefined
  readonly dkim: DKIMVerifyResult
  /** Nothing for a chain that was not checked. */
  readonly arc: ARCResult | undefined
  /** Nothing for a client without an address. */
  readonly spf: SPFResult | undefined
  readonly dmarc: DMARCResult | false
  /** The domains that are aligned with the author's; nothing where the author's domain asks for nothing. */
  readonly aligned: ReadonlySet<string> | undefined
}

/** Why a signature was not checked, and whose it is: mailauth may know only what stands in its place. */
const refusal = ({ signature, signingDomain, selector, status }: DKIMResult, found: Found): Refused | undefined =>
  found.selected.refused.get(signature ?? "") ?? (found.unread === undefined || status.result === "pass"
    ? undefined
    : { reason: found.unread, domain: signingDomain, selector })

const dkimResult = (each: DKIMResult, found: Found): DkimResult => {
  const refused = refusal(each, found)
  if (refused !== undefined) {
    const { domain, reason, selector } = refused
    return { ...unchecked("permerror", reason), domain: domain?.toLowerCase(), selector }
  }
  const { aligned, comment, result, testing, underSized } = each.status
  const domain = each.signingDomain
  return {
    result: oneOf(["pass", "fail", "neutral", "none", "policy", "temperror", "permerror"], result, "permerror"),
    domain: domain?.toLowerCase(),
    selector: each.selector,
    algorithm: each.algo,
    aligned: result === "pass" &&
      (found.aligned === undefined ? typeof aligned === "string" : found.aligned.has(normalDomain(domain ?? ""))),
    testing: testing === true,
    unsigned: underSized ?? 0,
    comment
  }
}

/** The result of a signature that nobody has looked at. */
const unchecked = (result: "temperror" | "permerror", comment: string): DkimResult => ({
  result,
  domain: undefined,
  selector: undefined,
  algorithm: undefined,
  aligned: false,
  testing: false,
  unsigned: 0,
  comment
})

const dkimRow = (each: DKIMResult, found: Found): string => {
  const refused = refusal(each, found)
  if (refused === undefined) return each.info ?? ""
  const domain = asciiDomain(refused.domain ?? "")
  return `dkim=permerror (${refused.reason})${domain === undefined ? "" : ` header.d=${domain}`}`
}

const normalDomain = (domain: string): string => asciiDomain(domain) ?? domain.toLowerCase()

/** Why there is nothing to check. */
const noAuthor = ({ fromFields, headerFrom }: DKIMVerifyResult): string =>
  fromFields > 1 ? "multiple from fields" : headerFrom.length > 1 ? "no single author domain" : "no author domain"

const dmarcResult = ({ dkim, dmarc }: Found): DmarcResult =>
  dmarc === false
    ? {
      result: "permerror",
      domain: undefined,
      policy: undefined,
      policyDomain: undefined,
      comment: noAuthor(dkim)
    }
    : {
      result: oneOf(["pass", "fail", "none", "temperror", "permerror"], dmarc.status.result, "permerror"),
      domain: dmarc.status.header?.from,
      policy: ["none", "quarantine", "reject"].includes(dmarc.policy)
        ? oneOf(["none", "quarantine", "reject"], dmarc.policy, "none")
        : undefined,
      policyDomain: dmarc.policyDomain,
      comment: dmarc.error
    }

const arcResult = ({ arc, selected }: Found): ArcResult =>
  arc === undefined
    ? { result: "fail", instance: 0, comment: selected.brokenChain }
    : {
      result: oneOf(["pass", "fail", "none"], arc.status.result, "fail"),
      instance: arc.i === false ? 0 : arc.i,
      comment: arc.status.comment
    }

/**
 * What strangers have written stays where mailauth has put it: text outside ASCII would be encoded on its way into the
 * message, quotes and all, and then a quoted string (tag `i` of a signature) would end elsewhere; and not all readers know
 * that a quote in a comment is none.
 */
const harmless = (row: string): string =>
  row.replace(/[^\0-\x7f]/g, "_").replace(
    /"(?:[^"\\]|\\[^])*"|\((?:[^()\\]|\\[^])*\)/g,
    (part) => part.startsWith("(") ? part.replace(/"/g, "'") : part
  )

const textOf = (authservId: string, rows: ReadonlyArray<string>): string =>
  `${authservId};\n ${rows.length === 0 ? "none" : rows.map((row) => fold(harmless(row), 1)).join(";\n ")}`

const spfRow = (found: SPFResult | undefined): ReadonlyArray<string> => found === undefined ? [] : [found.info]

/** A host without a name gives its address. */
const heloOf = ({ client, helo }: Checking): string | undefined => {
  const name = helo === undefined || helo === "" ? client : helo
  return name !== undefined && isIP(name) !== 0 ? `[${name}]` : name
}

const spfOf = async (checking: Checking, resolver: Resolver): Promise<SPFResult | undefined> => {
  const { authservId, client, sender, strict } = checking
  const helo = heloOf(checking)
  return client === undefined
    ? undefined
    : spf({ sender, ip: client, ...(helo === undefined ? {} : { helo }), mta: authservId, resolver, strict })
}

/** Asks for each name once. */
const memoized = (resolver: Resolver): Resolver => {
  const answers = new Map<string, ReturnType<Resolver>>()
  return (name, type) => {
    const key = `${type} ${name}`
    const answer = answers.get(key) ?? resolver(name, type)
    answers.set(key, answer)
    return answer
  }
}

type DmarcOptions = Parameters<typeof dmarc>[0]

/**
 * Which domains of signatures are aligned. mailauth's DMARC tells of one of them only; the organizational domain of any
 * other is what it finds for an author there.
 */
const alignedOf = async (found: DMARCResult, options: DmarcOptions): Promise<ReadonlySet<string> | undefined> => {
  if (found.alignment === undefined) return undefined
  const author = normalDomain(found.status.header?.from ?? "")
  const aligned = new Set<string>()
  for (const { domain } of options.dkimDomains ?? []) {
    const name = normalDomain(domain)
    if (name === author) aligned.add(name)
    else if (!found.alignment.dkim.strict && (name === found.domain || name.endsWith(`.${found.domain}`))) {
      const other = await dmarc({ ...options, headerFrom: `x@${name}`, fromFields: 1, spfDomains: [], dkimDomains: [] })
      if (other !== false && other.domain === found.domain) aligned.add(name)
    }
  }
  return aligned
}

const find = async (feed: Feed, checking: Checking, resolvers: Resolvers, selected: Selected): Promise<Found> => {
  const { client, leastRsaBits: minBitLength, sender, strict } = checking
  const dkim = await dkimVerify(feed.readable, { resolver: resolvers.keys, sender, minBitLength, strict })
  const chain = selected.brokenChain !== undefined || dkim.arc === undefined ? undefined : await arc(
    // Its type has no place for the error that it gets.
    dkim.arc as ARCData,
    { resolver: resolvers.keys, minBitLength, strict, ...(client === undefined ? {} : { ip: client }) }
  )
  const spf = await spfOf(checking, resolvers.spf)
  const options = {
    headerFrom: dkim.headerFrom,
    fromFields: dkim.fromFields,
    spfDomains: spf?.status.result === "pass" ? [spf.domain] : [],
    dkimDomains: dkim.results.flatMap(({ id, signingDomain, status }) =>
      status.result === "pass" && signingDomain !== undefined
        ? [{ ...(id === undefined ? {} : { id }), domain: signingDomain, underSized: status.underSized ?? 0 }]
        : []
    ),
    arcResult: chain ?? { i: false as const, status: { result: "fail" } },
    resolver: memoized(resolvers.dmarc),
    strict
  }
  const policy = await dmarc(options)
  return {
    selected,
    unread: feed.tooLarge,
    dkim,
    arc: chain,
    spf,
    dmarc: policy,
    aligned: policy === false ? undefined : await alignedOf(policy, options)
  }
}

const resultsOf = (found: Found, checking: Checking): Results => {
  const { arc, dkim, selected, spf } = found
  const dmarc = dmarcResult(found)
  return {
    spf: spf === undefined ? undefined : spfResult(spf, checking),
    dkim: dkim.results.map((each) => dkimResult(each, found)),
    dmarc,
    arc: arcResult(found),
    text: textOf(checking.authservId, [
      ...dkim.results.map((each) => dkimRow(each, found)),
      ...spfRow(spf),
      ...(arc === undefined ? [`arc=fail (${selected.brokenChain})`] : arc.info === undefined ? [] : [arc.info]),
      found.dmarc === false ? `dmarc=permerror (${dmarc.comment})` : found.dmarc.info ?? ""
    ])
  }
}

/** Reads the message to its end and checks it. */
export const check = (
  feed: Feed,
  checking: Checking,
  resolvers: Resolvers,
  selected: Selected
): Effect.Effect<Results, MailauthError> =>
  Effect.map(
    Effect.tryPromise({ try: () => find(feed, checking, resolvers, selected), catch: failed }),
    (found) => resultsOf(found, checking)
  )

/** For a message that cannot be read: SPF alone, and one result for everything else. */
export const checkSpf = (
  checking: Checking,
  resolver: Resolver,
  otherwise: "temperror" | "permerror",
  comment: string
): Effect.Effect<Results, MailauthError> =>
  Effect.map(
    Effect.tryPromise({ try: () => spfOf(checking, resolver), catch: failed }),
    (found) => ({
      spf: found === undefined ? undefined : spfResult(found, checking),
      dkim: [unchecked(otherwise, comment)],
      dmarc: { result: otherwise, domain: undefined, policy: undefined, policyDomain: undefined, comment },
      arc: { result: "fail", instance: 0, comment },
      text: textOf(checking.authservId, [
        `dkim=${otherwise} (${comment})`,
        ...spfRow(found),
        `arc=fail (${comment})`,
        `dmarc=${otherwise} (${comment})`
      ])
    })
  )

export interface SealField {
  readonly name: string
  readonly value: string
}

export interface Sealing {
  readonly key: { readonly domain: string; readonly selector: string; readonly pem: string }
  readonly chain: "none" | "pass" | "fail"
  readonly results: string
  readonly time: Date
}

/** An ARC set, topmost field first; none for a chain that has ended. */
export const makeSeal = (feed: Feed, sealing: Sealing): Effect.Effect<ReadonlyArray<SealField>, MailauthError> =>
  Effect.flatMap(
    Effect.tryPromise({
      try: () =>
        createSeal(feed.readable, {
          seal: {
            signingDomain: sealing.key.domain,
            selector: sealing.key.selector,
            privateKey: sealing.key.pem,
            // What is not ASCII would be encoded on its way into the message, and then the seal would not hold.
            authResults: sealing.results.replace(/\r?\n/g, "\r\n").replace(/[^\0-\x7f]/g, "?"),
            cv: sealing.chain,
            signTime: sealing.time
          },
          strict: true
        }),
      catch: failed
    }),
    ({ errors, headers }) => {
      const error = errors.map(({ err }) => err).find(({ code }) => code !== "EARCCHAINFAILED")
      if (error !== undefined) return Effect.fail(failed(error))
      return Effect.succeed(headers.map((header) => {
        const colon = header.indexOf(":")
        return { name: header.slice(0, colon), value: header.slice(colon + 1).replace(/^ /, "") }
      }))
    }
  )
