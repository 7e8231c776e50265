/**
 * DMARC (RFC 9989), by mailauth, for the author that RFC 5322 names. mailauth reads From in its own way, and so do mail
 * programs; where somebody may see another author, a message can fail, but it cannot pass.
 */
import * as Result from "effect/Result"
import { type DKIMVerifyResult, dmarc, type DMARCResult } from "mailauth"
import { asciiDomain } from "../../internal/mail/domainName.ts"
import type { DmarcResult } from "../Results.ts"
import type { Author } from "./author.ts"
import type { Resolver } from "./bridge.ts"
import { mended } from "./dmarcRecord.ts"

export const normalDomain = (domain: string): string => asciiDomain(domain) ?? domain.toLowerCase()

export interface Judged {
  readonly result: DmarcResult
  /** The statement for Authentication-Results. */
  readonly row: string
  /** The domains of signatures that are aligned with the author's; undefined if the author's domain has no policy. */
  readonly aligned: ReadonlySet<string> | undefined
}

type Options = Parameters<typeof dmarc>[0]

export interface Evidence {
  /** The author, or why there is not exactly one. */
  readonly author: Result.Result<Author, string>
  readonly dkim: DKIMVerifyResult
  /** The domain that SPF has confirmed. */
  readonly spfDomains: ReadonlyArray<string>
  /** The signatures that hold. */
  readonly dkimDomains: NonNullable<Options["dkimDomains"]>
  readonly arcResult: NonNullable<Options["arcResult"]>
}

/** Asks for each name once, and cuts records at their first fault. */
const policies = (resolver: Resolver): Resolver => {
  const answers = new Map<string, ReturnType<Resolver>>()
  const ask: Resolver = async (name, type) => {
    const records = await resolver(name, type)
    return type === "TXT" ? records.map((record) => [mended([record].flat().join(""))]) : records
  }
  return (name, type) => {
    const key = `${type} ${name}`
    const answer = answers.get(key) ?? ask(name, type)
    answers.set(key, answer)
    return answer
  }
}

/**
 * Finds the domains of signatures that are aligned. mailauth's DMARC reports one of them only; the organizational domain of
 * any other is found by asking for an author there.
 */
const alignedOf = async (found: DMARCResult, options: Options): Promise<ReadonlySet<string> | undefined> => {
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

const nothing: Resolver = async () => {
  throw Object.assign(new Error("no records"), { code: "ENOTFOUND" })
}

/** The domain that mailauth takes for the author's. It is part of a result only, so a check without any record is made. */
const seenAuthor = async (
  { fromFields, headerFrom }: DKIMVerifyResult,
  strict: boolean
): Promise<string | undefined> => {
  const found = await dmarc({ headerFrom, fromFields, resolver: nothing, strict })
  return found === false ? undefined : normalDomain(found.status.header?.from ?? "")
}

const words = ["pass", "fail", "none", "temperror", "permerror"] as const
const requests = ["none", "quarantine", "reject"] as const

export const judge = async (evidence: Evidence, resolver: Resolver, strict: boolean): Promise<Judged> => {
  const { arcResult, author, dkim, dkimDomains, spfDomains } = evidence
  if (Result.isFailure(author)) return unknownAuthor(author.failure)
  const { domain } = author.success
  const options = {
    headerFrom: [`x@${domain}`],
    fromFields: 1,
    spfDomains: [...spfDomains],
    dkimDomains,
    arcResult,
    resolver: policies(resolver),
    strict
  }
  const found = await dmarc(options)
  if (found === false) return unknownAuthor("an author whose domain cannot be read")
  const seen = await seenAuthor(dkim, strict)
  const doubt = author.success.doubt ?? (seen === domain ? undefined : "an author that readers disagree about")
  const result = words.find((each) => each === found.status.result) ?? "permerror"
  const cannotPass = doubt !== undefined && (result === "pass" || result === "none")
  return {
    result: {
      result: cannotPass ? "permerror" : result,
      domain,
      policy: requests.find((each) => each === found.policy),
      policyDomain: found.policyDomain,
      comment: doubt ?? found.error
    },
    row: cannotPass ? `dmarc=permerror (${doubt}) header.from=${domain}` : found.info ?? "",
    // mailauth's own answer would be about the author that it has seen.
    aligned: await alignedOf(found, options) ?? (seen === domain ? undefined : new Set())
  }
}

const unknownAuthor = (comment: string): Judged => ({
  result: { result: "permerror", domain: undefined, policy: undefined, policyDomain: undefined, comment },
  row: `dmarc=permerror (${comment})`,
  aligned: new Set()
})
