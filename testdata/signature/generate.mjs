// Makes the vectors of this folder; README.md says how. Node.js 20 and npm's @sigstore/mock 0.12.1 (certificate transparency
// log, time-stamp authority), @peculiar/x509 (certificates). Keys, logs and signatures are made with Node's own crypto.
import { createRequire } from 'node:module';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execFileSync } from 'node:child_process';
const require = createRequire(`${process.cwd()}/`);
require('reflect-metadata');
const { initializeCTLog } = require('@sigstore/mock');
const { Crypto } = require('@peculiar/webcrypto');
const x509 = require('@peculiar/x509');
const asn1js = require('asn1js');
const web = new Crypto();
x509.cryptoProvider.set(web);

const out = path.resolve(process.argv[2] ?? '.');
fs.mkdirSync(path.join(out, 'keys'), { recursive: true });
const write = (name, data) => fs.writeFileSync(path.join(out, name), data);

// ---------------------------------------------------------------------------------------------- small things
const sha256 = (data) => crypto.createHash('sha256').update(data).digest();
const b64 = (data) => Buffer.from(data).toString('base64');
const canonical = (value) => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value && typeof value === 'object')
    return `{${Object.keys(value).sort().map((k) => `${JSON.stringify(k)}:${canonical(value[k])}`).join(',')}}`;
  return JSON.stringify(value);
};
const clone = (value) => JSON.parse(JSON.stringify(value));
const flip = (text, at = 20) => {
  const octets = Buffer.from(text, 'base64');
  octets[at] ^= 1;
  return b64(octets);
};
const spki = (key) => key.export({ format: 'der', type: 'spki' });
const pem = (key) => key.export({ format: 'pem', type: 'spki' });
const pemOf = (der, label) => `-----BEGIN ${label}-----\n${b64(der).match(/.{1,64}/g).join('\n')}\n-----END ${label}-----\n`;
const START = Date.now();
const minutes = (n) => n * 60_000;

// ---------------------------------------------------------------------------------------------- keys and images
const ec = (curve) => crypto.generateKeyPairSync('ec', { namedCurve: curve });
const rsa = (bits) => crypto.generateKeyPairSync('rsa', { modulusLength: bits });
const keys = {
  p256: ec('P-256'), p384: ec('P-384'), ed25519: crypto.generateKeyPairSync('ed25519'),
  rsa2048: rsa(2048), rsa4096: rsa(4096), stranger: ec('P-256'), nobody: ec('P-256'),
};
for (const [name, pair] of Object.entries(keys)) write(`keys/${name}.pub.pem`, pem(pair.publicKey));

const manifest = (seed) => `${JSON.stringify({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: `sha256:${sha256(`config ${seed}`).toString('hex')}`, size: 1024 },
  layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted', digest: `sha256:${sha256(`layer ${seed}`).toString('hex')}`, size: 4096 }],
})}\n`;
write('manifest.json', manifest(1));
write('other.json', manifest(2));
const hex = sha256(manifest(1)).toString('hex');
const otherHex = sha256(manifest(2)).toString('hex');

// ---------------------------------------------------------------------------------------------- a transparency log
class Log {
  constructor(host, pair, leaves = 0) {
    this.host = host;
    this.pair = pair;
    this.id = sha256(spki(pair.publicKey));
    this.leaves = Array.from({ length: leaves }, (_, i) => Buffer.from(`somebody else's entry ${i}`));
  }
  static leaf(octets) { return sha256(Buffer.concat([Buffer.from([0]), octets])); }
  static node(left, right) { return sha256(Buffer.concat([Buffer.from([1]), left, right])); }
  // RFC 6962, section 2.1
  static root(leaves) {
    if (leaves.length === 1) return Log.leaf(leaves[0]);
    const k = Log.split(leaves.length);
    return Log.node(Log.root(leaves.slice(0, k)), Log.root(leaves.slice(k)));
  }
  static split(n) { let k = 1; while (k * 2 < n) k *= 2; return k; }
  // RFC 6962, section 2.1.1
  static proof(m, leaves) {
    if (leaves.length === 1) return [];
    const k = Log.split(leaves.length);
    return m < k
      ? [...Log.proof(m, leaves.slice(0, k)), Log.root(leaves.slice(k))]
      : [...Log.proof(m - k, leaves.slice(k)), Log.root(leaves.slice(0, k))];
  }
  checkpoint(size, root, time, signer = this.pair, host = this.host) {
    const note = `${host}\n${size}\n${b64(root)}\n${time ? `Timestamp: ${time}000000000\n` : ''}`;
    const signature = crypto.sign('sha256', Buffer.from(note), signer.privateKey);
    return `${note}\n\u2014 ${host} ${b64(Buffer.concat([this.id.subarray(0, 4), signature]))}\n`;
  }
  promise(body, time, index, signer = this.pair) {
    const text = canonical({ body: b64(body), integratedTime: time, logID: this.id.toString('hex'), logIndex: index });
    return b64(crypto.sign('sha256', Buffer.from(text), signer.privateKey));
  }
  // An entry as bundles hold it; `after` leaves are added behind it.
  take(entry, { time = Math.floor(Date.now() / 1000), after = 0, version } = {}) {
    const body = Buffer.from(canonical(entry));
    const index = this.leaves.length;
    this.leaves.push(body, ...Array.from({ length: after }, (_, i) => Buffer.from(`a later entry ${index + i}`)));
    const root = Log.root(this.leaves);
    const size = this.leaves.length;
    const v2 = version === 2;
    return {
      logIndex: String(index),
      logId: { keyId: b64(this.id) },
      kindVersion: { kind: entry.kind, version: entry.apiVersion },
      ...(v2 ? {} : { integratedTime: String(time), inclusionPromise: { signedEntryTimestamp: this.promise(body, time, index) } }),
      inclusionProof: {
        logIndex: String(index), rootHash: b64(root), treeSize: String(size),
        hashes: Log.proof(index, this.leaves).map(b64),
        checkpoint: { envelope: this.checkpoint(size, root, v2 ? 0 : time) },
      },
      canonicalizedBody: b64(body),
    };
  }
}
const dsseEntry = (envelope, verifier) => ({
  apiVersion: '0.0.1', kind: 'dsse',
  spec: {
    envelopeHash: { algorithm: 'sha256', value: sha256(JSON.stringify(envelope)).toString('hex') },
    payloadHash: { algorithm: 'sha256', value: sha256(Buffer.from(envelope.payload, 'base64')).toString('hex') },
    signatures: envelope.signatures.map((s) => ({ signature: s.sig, verifier: b64(verifier) })),
  },
});
const dsseEntry2 = (envelope, verifier, keyDetails = 'PKIX_ECDSA_P256_SHA_256') => ({
  apiVersion: '0.0.2', kind: 'dsse',
  spec: { dsseV002: {
    payloadHash: { algorithm: 'SHA2_256', digest: b64(sha256(Buffer.from(envelope.payload, 'base64'))) },
    signatures: envelope.signatures.map((s) => ({ content: s.sig, verifier: { keyDetails, ...verifier } })),
  } },
});
const hashedEntry2 = (envelope, certificate) => ({
  apiVersion: '0.0.2', kind: 'hashedrekord',
  spec: { hashedRekordV002: {
    data: { algorithm: 'SHA2_256', digest: b64(sha256(pae(envelope.payloadType, Buffer.from(envelope.payload, 'base64')))) },
    signature: { content: envelope.signatures[0].sig, verifier: { keyDetails: 'PKIX_ECDSA_P256_SHA_256', x509Certificate: { rawBytes: b64(certificate) } } },
  } },
});
const hashedEntry = (payload, signature, verifier) => ({
  apiVersion: '0.0.1', kind: 'hashedrekord',
  spec: {
    data: { hash: { algorithm: 'sha256', value: sha256(payload).toString('hex') } },
    signature: { content: signature, publicKey: { content: b64(verifier) } },
  },
});

// ---------------------------------------------------------------------------------------------- certificate authorities
const P384 = { name: 'ECDSA', namedCurve: 'P-384' };
const P256 = { name: 'ECDSA', namedCurve: 'P-256' };
const ECDSA384 = { name: 'ECDSA', hash: 'SHA-384' };
const usage = x509.KeyUsageFlags;
const newPair = () => web.subtle.generateKey(P384, true, ['sign', 'verify']);
const importPublic = (pair) => web.subtle.importKey('spki', spki(pair.publicKey), P256, true, ['verify']);
let serial = 0x1000;
const nextSerial = () => (serial += 1).toString(16);

class Authority {
  static async make(name, parent) {
    const a = new Authority();
    a.keys = await newPair();
    a.name = name;
    const common = {
      serialNumber: nextSerial(), notBefore: new Date(START - minutes(60)), notAfter: new Date(START + minutes(60 * 24 * 3650)),
      signingAlgorithm: ECDSA384,
      extensions: [
        new x509.BasicConstraintsExtension(true, parent ? 0 : undefined, true),
        new x509.KeyUsagesExtension(usage.cRLSign | usage.keyCertSign, true),
        ...(parent ? [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.codeSigning])] : []),
        await x509.SubjectKeyIdentifierExtension.create(a.keys.publicKey, false, web),
        await x509.AuthorityKeyIdentifierExtension.create((parent ?? a).keys.publicKey, false, web),
      ],
    };
    a.certificate = parent
      ? await x509.X509CertificateGenerator.create({ ...common, subject: name, issuer: parent.name, publicKey: a.keys.publicKey, signingKey: parent.keys.privateKey }, web)
      : await x509.X509CertificateGenerator.createSelfSigned({ ...common, name, keys: a.keys }, web);
    a.parent = parent;
    return a;
  }
  get der() { return Buffer.from(this.certificate.rawData); }
  async issue(pair, who, options = {}) {
    const { ct = ctLog, from = new Date(START - minutes(1)), forMinutes = 10, purpose = [x509.ExtendedKeyUsage.codeSigning], issuer = who.issuer, sct = true, ca = false } = options;
    const key = await importPublic(pair);
    const utf8 = (text) => new asn1js.Utf8String({ value: text }).toBER(false);
    const tbs = {
      serialNumber: nextSerial(), notBefore: from, notAfter: new Date(from.getTime() + minutes(forMinutes)),
      issuer: this.name, publicKey: key, signingAlgorithm: ECDSA384, signingKey: this.keys.privateKey,
      extensions: [
        ...(ca ? [new x509.BasicConstraintsExtension(true, undefined, true)] : []),
        new x509.KeyUsagesExtension(usage.digitalSignature, true),
        ...(purpose.length ? [new x509.ExtendedKeyUsageExtension(purpose)] : []),
        ...(who.kind ? [new x509.SubjectAlternativeNameExtension([{ type: who.kind, value: who.identity }], true)] : []),
        await x509.SubjectKeyIdentifierExtension.create(key, false, web),
        await x509.AuthorityKeyIdentifierExtension.create(this.keys.publicKey, false, web),
        ...(issuer ? [new x509.Extension('1.3.6.1.4.1.57264.1.1', false, Buffer.from(issuer)), new x509.Extension('1.3.6.1.4.1.57264.1.8', false, utf8(issuer))] : []),
      ],
    };
    if (sct) {
      const before = await x509.X509CertificateGenerator.create(tbs, web);
      const id = await web.subtle.digest('SHA-256', await web.subtle.exportKey('spki', this.keys.publicKey));
      const stamp = Buffer.from(await ct.log(before.rawData, id));
      const long = (octets) => Buffer.concat([Buffer.from([octets.length >> 8, octets.length & 255]), octets]);
      const whole = long(stamp); // RFC 6962, section 3.3; the stamp comes with its length
      tbs.extensions.push(new x509.Extension('1.3.6.1.4.1.11129.2.4.2', false, new asn1js.OctetString({ valueHex: whole }).toBER(false)));
    }
    return Buffer.from((await x509.X509CertificateGenerator.create(tbs, web)).rawData);
  }
}

// A time-stamp authority (RFC 3161), by openssl.
class TimeStamper {
  constructor(name) {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tsa-'));
    fs.writeFileSync(path.join(this.folder, 'conf'), `
[req]
distinguished_name = dn
prompt = no
[dn]
CN = ${name}
O = sealift vectors
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = one
[one]
serial = serial
signer_cert = leaf.pem
signer_key = leaf.key
signer_digest = sha256
default_policy = 1.2.3.4.5
digests = sha256
ess_cert_id_alg = sha256
`);
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-config', 'conf'];
    this.run('req', '-x509', ...ec, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '3650', '-extensions', 'ca');
    this.run('req', ...ec, '-keyout', 'leaf.key', '-out', 'leaf.csr', '-subj', `/CN=${name} signing/O=sealift vectors`);
    this.run('x509', '-req', '-in', 'leaf.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '3650', '-extfile', 'conf', '-extensions', 'leaf', '-out', 'leaf.pem');
    fs.writeFileSync(path.join(this.folder, 'serial'), '01\n');
  }
  run(...args) { return execFileSync('openssl', args, { cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'] }); }
  der(name) { return this.run('x509', '-in', `${name}.pem`, '-outform', 'DER'); }
  stamp(data) {
    fs.writeFileSync(path.join(this.folder, 'data'), data);
    this.run('ts', '-query', '-data', 'data', '-sha256', '-cert', '-out', 'query');
    this.run('ts', '-reply', '-config', 'conf', '-section', 'one', '-queryfile', 'query', '-out', 'reply');
    return b64(fs.readFileSync(path.join(this.folder, 'reply')));
  }
}

const ctPair = ec('P-256');
const ctLog = await initializeCTLog(ctPair);
const strangeCt = await initializeCTLog(ec('P-256'));
const root = await Authority.make('CN=root,O=sealift vectors');
const authority = await Authority.make('CN=intermediate,O=sealift vectors', root);
const strangeRoot = await Authority.make('CN=root,O=stranger');
const strangeAuthority = await Authority.make('CN=intermediate,O=stranger', strangeRoot);
// Same name as the trusted one, other key.
const twin = await Authority.make('CN=intermediate,O=sealift vectors', strangeRoot);
const tsa = new TimeStamper('time');
const strangeTsa = new TimeStamper('strange time');
const rekor = new Log('rekor.example', ec('P-256'), 5);
const rekor2 = new Log('log2025.example', ec('P-256'), 3);
const strangeLog = new Log('rekor.example', ec('P-256'), 5);

const since = { start: new Date(START - minutes(60)).toISOString() };
const log = (l) => ({
  baseUrl: `https://${l.host}`, hashAlgorithm: 'SHA2_256', logId: { keyId: b64(l.id) },
  publicKey: { rawBytes: b64(spki(l.pair.publicKey)), keyDetails: 'PKIX_ECDSA_P256_SHA_256', validFor: since },
});
write('trusted_root.json', `${JSON.stringify({
  mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
  tlogs: [log(rekor), log(rekor2)],
  certificateAuthorities: [{
    subject: { organization: 'sealift vectors', commonName: 'fulcio' }, uri: 'https://fulcio.example',
    certChain: { certificates: [{ rawBytes: b64(authority.der) }, { rawBytes: b64(root.der) }] }, validFor: since,
  }],
  ctlogs: [{
    baseUrl: 'https://ct.example', hashAlgorithm: 'SHA2_256', logId: { keyId: b64(sha256(spki(ctPair.publicKey))) },
    publicKey: { rawBytes: b64(spki(ctPair.publicKey)), keyDetails: 'PKIX_ECDSA_P256_SHA_256', validFor: since },
  }],
  timestampAuthorities: [{
    subject: { organization: 'sealift vectors', commonName: 'tsa' }, uri: 'https://tsa.example',
    certChain: { certificates: [{ rawBytes: b64(tsa.der('leaf')) }, { rawBytes: b64(tsa.der('ca')) }] }, validFor: since,
  }],
}, null, 1)}\n`);

// ---------------------------------------------------------------------------------------------- statements and bundles
const V03 = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const IN_TOTO = 'application/vnd.in-toto+json';
const SIGN = 'https://sigstore.dev/cosign/sign/v1';
const statement = (change = {}) => ({
  _type: 'https://in-toto.io/Statement/v1', subject: [{ digest: { sha256: hex } }], predicateType: SIGN, predicate: {}, ...change,
});
const pae = (type, payload) => Buffer.concat([Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `), payload]);
const sign = (name, message, hash) => {
  const pair = keys[name] ?? name;
  const kind = pair.privateKey.asymmetricKeyType;
  return crypto.sign(kind === 'ed25519' ? null : hash ?? 'sha256', message, pair.privateKey);
};
const envelope = (pair, { st = statement(), type = IN_TOTO, hash, raw } = {}) => {
  const payload = Buffer.from(raw ?? JSON.stringify(st));
  return { payload: b64(payload), payloadType: type, signatures: [{ sig: b64(sign(pair, pae(type, payload), hash)) }] };
};
const hint = (name) => b64(sha256(spki(keys[name].publicKey)));
const keyed = (name, options = {}) => ({
  mediaType: options.mediaType ?? V03,
  verificationMaterial: { publicKey: { hint: options.hint ?? hint(name) }, ...(options.material ?? {}) },
  dsseEnvelope: options.envelope ?? envelope(name, options),
});
const keyedLogged = (name, options = {}, logOptions = { after: 2 }) => {
  const bundle = keyed(name, options);
  const entry = dsseEntry(options.loggedEnvelope ?? bundle.dsseEnvelope, options.loggedKey ?? pem(keys[name].publicKey));
  bundle.verificationMaterial.tlogEntries = [(options.log ?? rekor).take(entry, logOptions)];
  return bundle;
};

const WORKFLOW = { kind: 'url', identity: 'https://github.com/example/app/.github/workflows/release.yml@refs/tags/v1', issuer: 'https://token.actions.githubusercontent.com' };
const PERSON = { kind: 'email', identity: 'release@example.com', issuer: 'https://accounts.example.com' };
const keyless = async (who, options = {}) => {
  const pair = ec('P-256');
  const certificate = await (options.authority ?? authority).issue(pair, who, options.certificate);
  const signed = envelope(pair, options);
  const content = options.chain
    ? { x509CertificateChain: { certificates: [certificate, ...options.chain].map((der) => ({ rawBytes: b64(der) })) } }
    : { certificate: { rawBytes: b64(certificate) } };
  const material = { ...content };
  const shown = options.loggedCertificate ?? certificate;
  if (options.version === 2) {
    const entry = options.dsse
      ? dsseEntry2(options.loggedEnvelope ?? signed, { x509Certificate: { rawBytes: b64(shown) } })
      : hashedEntry2(options.loggedEnvelope ?? signed, shown);
    material.tlogEntries = [rekor2.take(entry, { version: 2, after: 1 })];
  } else if (!options.unlogged) {
    material.tlogEntries = [(options.log ?? rekor).take(dsseEntry(options.loggedEnvelope ?? signed, pemOf(shown, 'CERTIFICATE')), { after: 3, time: options.time })];
  }
  if (options.stamped) {
    const over = options.stampedOver ?? Buffer.from(signed.signatures[0].sig, 'base64');
    material.timestampVerificationData = { rfc3161Timestamps: [{ signedTimestamp: options.stamped.stamp(over) }] };
  }
  return { mediaType: options.mediaType ?? V03, verificationMaterial: material, dsseEnvelope: signed };
};

// ---------------------------------------------------------------------------------------------- cases
const cases = [];
const everybody = Object.keys(keys).filter((name) => name !== 'stranger' && name !== 'nobody');
const fingerprint = (name) => `sha256:${sha256(spki(keys[name].publicKey)).toString('hex')}`;
const trust = { identities: [{ identity: WORKFLOW.identity, issuer: WORKFLOW.issuer }, { identity: PERSON.identity, issuer: PERSON.issuer }], roots: true };
const add = (name, claim, demand, expect, why) => {
  const entry = { name, expect, why, ...demand };
  if (claim.annotations) Object.assign(entry, { payload: claim.payload, annotations: claim.annotations });
  else entry.bundle = typeof claim === 'string' ? claim : JSON.stringify(claim);
  cases.push(entry);
};
const byKey = (name, bundle, why, of = 'p256', demand = {}) => add(name, bundle, { keys: everybody, ...demand }, `key ${fingerprint(of)}`, why);
const notByKey = (name, bundle, expect, why, demand = {}) => add(name, bundle, { keys: everybody, ...demand }, expect, why);

// Keys
byKey('key-p256', keyed('p256'), 'as cosign 3 writes it without a log');
byKey('key-p384-sha384', keyed('p384', { hash: 'sha384' }), 'as cosign 2.6 and later sign with this curve', 'p384');
byKey('key-p384-sha256', keyed('p384', { hash: 'sha256' }), 'as cosign up to 2.5.3 signed with this curve', 'p384');
byKey('key-ed25519', keyed('ed25519'), 'pure Ed25519', 'ed25519');
byKey('key-rsa2048', keyed('rsa2048'), 'RSASSA-PKCS1-v1_5', 'rsa2048');
byKey('key-rsa4096', keyed('rsa4096'), 'RSASSA-PKCS1-v1_5', 'rsa4096');
byKey('key-no-predicate', keyed('p256', { st: statement({ predicate: undefined }) }), 'cosign up to 3.0.4 wrote no predicate');
byKey('key-named-subject', keyed('p256', { st: statement({ subject: [{ name: 'registry.example/app', digest: { sha256: hex } }] }) }), 'the name decides nothing');
byKey('key-second-subject', keyed('p256', { st: statement({ subject: [{ digest: { sha256: otherHex } }, { digest: { sha256: hex } }] }) }), 'one of two images');
byKey('key-two-algorithms', keyed('p256', { st: statement({ subject: [{ digest: { sha512: 'ab'.repeat(64), sha256: hex } }] }) }), 'the digest that counts is among others');
byKey('key-statement-v0.1', keyed('p256', { st: statement({ _type: 'https://in-toto.io/Statement/v0.1' }) }), 'older statement');
byKey('key-wrong-hint', keyed('p256', { hint: hint('stranger') }), 'the hint is a hint');
byKey('key-empty-hint', keyed('p256', { hint: '' }), 'the hint is a hint');
byKey('key-keyid', (() => { const b = keyed('p256'); b.dsseEnvelope.signatures[0].keyid = 'anything'; return b; })(), 'not signed, decides nothing');
byKey('key-log-unasked', keyedLogged('p256', { log: strangeLog }), 'a log that nobody asked for does not spoil it');
byKey('key-log', keyedLogged('p256'), 'with a log, asked for', 'p256', { roots: true, log: true });
byKey('key-log-first', keyedLogged('p256', { log: new Log('rekor.example', rekor.pair, 0) }, {}), 'the only leaf of its log: no hashes', 'p256', { roots: true, log: true });

notByKey('key-stranger', keyed('stranger'), 'Stranger', 'a key that is not trusted');
notByKey('key-none-trusted', keyed('p256'), 'NoKeys', 'only identities are trusted', { keys: [], ...trust });
notByKey('key-p384-sha512', keyed('p384', { hash: 'sha512' }), 'Stranger', 'a hash that nobody uses with this curve');
notByKey('key-p256-sha384', keyed('p256', { hash: 'sha384' }), 'Stranger', 'a hash that nobody uses with this curve');
notByKey('key-rsa-sha1', keyed('rsa2048', { hash: 'sha1' }), 'Stranger', 'SHA-1');
notByKey('key-rsa-pss', keyed('rsa2048', { envelope: (() => {
  const e = envelope('rsa2048');
  e.signatures[0].sig = b64(crypto.sign('sha256', pae(IN_TOTO, Buffer.from(e.payload, 'base64')), { key: keys.rsa2048.privateKey, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }));
  return e;
})() }), 'Stranger', 'RSASSA-PSS');
notByKey('key-raw-ecdsa', keyed('p256', { envelope: (() => {
  const e = envelope('p256');
  e.signatures[0].sig = b64(crypto.sign('sha256', pae(IN_TOTO, Buffer.from(e.payload, 'base64')), { key: keys.p256.privateKey, dsaEncoding: 'ieee-p1363' }));
  return e;
})() }), 'Stranger', 'r and s without DER');
notByKey('key-not-pae', keyed('p256', { envelope: (() => {
  const e = envelope('p256');
  e.signatures[0].sig = b64(sign('p256', Buffer.from(e.payload, 'base64')));
  return e;
})() }), 'Stranger', 'signs the payload and not its pre-authentication encoding');
const changed = (change) => { const b = keyed('p256'); change(b, b.dsseEnvelope, b.dsseEnvelope.signatures[0]); return b; };
notByKey('key-signature-flipped', changed((b, e, s) => { s.sig = flip(s.sig); }), 'Stranger', 'one bit of the signature');
notByKey('key-signature-cut', changed((b, e, s) => { s.sig = b64(Buffer.from(s.sig, 'base64').subarray(0, -1)); }), 'Stranger', 'the signature without its last octet');
notByKey('key-signature-long', changed((b, e, s) => { s.sig = b64(Buffer.concat([Buffer.from(s.sig, 'base64'), Buffer.from([0])])); }), 'Stranger', 'one octet behind the signature');
notByKey('key-signature-empty', changed((b, e, s) => { s.sig = ''; }), 'Stranger', 'no octet');
notByKey('key-signature-zero', changed((b, e, s) => { s.sig = b64(Buffer.from('3006020100020100', 'hex')); }), 'Stranger', 'r and s are zero');
notByKey('key-signature-base64', changed((b, e, s) => { s.sig = '*'; }), 'Form', 'no base64');
notByKey('key-signature-none', changed((b, e) => { e.signatures = []; }), 'Form', 'no signature');
notByKey('key-signature-two', changed((b, e, s) => { e.signatures.push({ ...s }); }), 'Form', 'a bundle has one signature');
notByKey('key-payload-changed', changed((b, e) => { e.payload = b64(JSON.stringify(statement({ predicate: { more: 1 } }))); }), 'Stranger', 'another payload under the same signature');
notByKey('key-payload-space', changed((b, e) => { e.payload = b64(`${Buffer.from(e.payload, 'base64')} `); }), 'Stranger', 'one space behind the payload');
notByKey('key-payload-type', keyed('p256', { type: 'application/json' }), 'Form', 'payload of another type, signed so');
notByKey('key-payload-type-changed', changed((b, e) => { e.payloadType = 'text/plain'; }), 'Form', 'payload type changed afterwards');
notByKey('key-payload-text', keyed('p256', { raw: 'text' }), 'Form', 'payload that is no JSON');
notByKey('key-payload-two', keyed('p256', { raw: JSON.stringify(statement()) + JSON.stringify(statement()) }), 'Form', 'two statements');
notByKey('key-payload-empty', keyed('p256', { raw: '' }), 'Form', 'empty payload');
notByKey('key-other-image', keyed('p256', { st: statement({ subject: [{ digest: { sha256: otherHex } }] }) }), 'OtherImage', 'about another image');
notByKey('key-no-subject', keyed('p256', { st: statement({ subject: [] }) }), 'OtherImage', 'about nothing');
notByKey('key-other-algorithm', keyed('p256', { st: statement({ subject: [{ digest: { sha512: `${hex}${hex}` } }] }) }), 'OtherImage', 'the right digits under the wrong algorithm');
byKey('key-upper-case', keyed('p256', { st: statement({ subject: [{ digest: { sha256: hex.toUpperCase() } }] }) }), 'digits in capitals are the same digits');
notByKey('key-prefixed', keyed('p256', { st: statement({ subject: [{ digest: { sha256: `sha256:${hex}` } }] }) }), 'Form', 'algorithm in the digits');
notByKey('key-provenance', keyed('p256', { st: statement({ predicateType: 'https://slsa.dev/provenance/v1' }) }), 'Statement', 'says how it was built and not that it is theirs');
notByKey('key-statement-type', keyed('p256', { st: statement({ _type: 'https://in-toto.io/Link/v1' }) }), 'Form', 'no statement');
notByKey('key-bundle-type', keyed('p256', { mediaType: 'application/vnd.dev.sigstore.bundle.v9.9+json' }), 'Form', 'a bundle of a version to come');
byKey('key-bundle-untyped', (() => { const b = keyed('p256'); delete b.mediaType; return b; })(), 'without type it is of the first version; what is signed is the same');
notByKey('key-no-material', (() => { const b = keyed('p256'); b.verificationMaterial = {}; return b; })(), 'Form', 'nothing to verify with');
notByKey('key-message', (() => {
  const b = keyed('p256');
  delete b.dsseEnvelope;
  b.messageSignature = { messageDigest: { algorithm: 'SHA2_256', digest: b64(Buffer.from(hex, 'hex')) }, signature: b64(sign('p256', Buffer.from(manifest(1)))) };
  return b;
})(), 'Form', 'signs the manifest itself, as cosign never does for images');
notByKey('key-behind', `${JSON.stringify(keyed('p256'))}{}`, 'Form', 'something behind the bundle');
notByKey('key-cut', JSON.stringify(keyed('p256')).slice(0, -2), 'Form', 'the end is missing');
notByKey('key-payload-twice', JSON.stringify(keyed('p256')).replace('"payload":', '"payload":"e30=","payload":'), 'Form', 'two payloads');
notByKey('key-not-utf8', '\ufffe', 'Form', 'no JSON');
const required = { roots: true, log: true };
notByKey('key-log-missing', keyed('p256'), 'NotLogged', 'a log is asked for', required);
notByKey('key-log-no-roots', keyedLogged('p256'), 'NotLogged', 'a log is asked for, and none is trusted', { log: true });
notByKey('key-log-strange', keyedLogged('p256', { log: strangeLog }), 'NotLogged', 'a log that is not trusted', required);
const logged = (change, options) => { const b = keyedLogged('p256', options); change(b.verificationMaterial.tlogEntries[0], b); return b; };
notByKey('key-log-other-payload', keyedLogged('p256', { loggedEnvelope: envelope('p256', { st: statement({ predicate: { other: 1 } }) }) }), 'NotLogged', 'the entry is of another payload', required);
notByKey('key-log-other-key', keyedLogged('p256', { loggedKey: pem(keys.stranger.publicKey) }), 'NotLogged', 'the entry is of another key', required);
notByKey('key-log-body-flipped', logged((t) => { t.canonicalizedBody = flip(t.canonicalizedBody, 60); }), 'NotLogged', 'one bit of the entry', required);
notByKey('key-log-hash-flipped', logged((t) => { t.inclusionProof.hashes[0] = flip(t.inclusionProof.hashes[0]); }), 'NotLogged', 'one bit of the proof', required);
notByKey('key-log-hash-missing', logged((t) => { t.inclusionProof.hashes.pop(); }), 'NotLogged', 'the proof lacks its last hash', required);
notByKey('key-log-hash-more', logged((t) => { t.inclusionProof.hashes.push(b64(sha256('more'))); }), 'NotLogged', 'the proof has a hash too many', required);
notByKey('key-log-root-flipped', logged((t) => { t.inclusionProof.rootHash = flip(t.inclusionProof.rootHash); }), 'NotLogged', 'one bit of the root', required);
notByKey('key-log-index', logged((t) => { t.inclusionProof.logIndex = '0'; }), 'NotLogged', 'the proof is of another index', required);
byKey('key-log-checkpoint-size', logged((t) => { t.inclusionProof.treeSize = String(Number(t.inclusionProof.treeSize) + 1); }), 'the proof leads to the root that the log signed; the size beside it says nothing', 'p256', required);
notByKey('key-log-checkpoint-flipped', logged((t) => { const p = t.inclusionProof; p.checkpoint.envelope = p.checkpoint.envelope.replace(/(\n\u2014 \S+ )(\S+)/, (_, a, b) => a + flip(b, 30)); }), 'NotLogged', 'one bit of the checkpoint\u2019s signature', required);
notByKey('key-log-checkpoint-stranger', logged((t) => { const p = t.inclusionProof; p.checkpoint.envelope = rekor.checkpoint(p.treeSize, Buffer.from(p.rootHash, 'base64'), 1, keys.stranger); }), 'NotLogged', 'a checkpoint that another key signed', required);
notByKey('key-log-promise-flipped', logged((t) => { t.inclusionPromise.signedEntryTimestamp = flip(t.inclusionPromise.signedEntryTimestamp, 30); }), 'NotLogged', 'one bit of the promise', required);
notByKey('key-log-time-changed', logged((t) => { t.integratedTime = String(Number(t.integratedTime) - 60); }), 'NotLogged', 'another time than was promised', required);

// Certificates
const byIdentity = (name, bundle, why, who = WORKFLOW, demand = {}) => add(name, bundle, { ...trust, ...demand }, `identity ${who.identity} (${who.issuer})`, why);
const notByIdentity = (name, bundle, expect, why, demand = {}) => add(name, bundle, { ...trust, ...demand }, expect, why);
byIdentity('certificate-workflow', await keyless(WORKFLOW), 'a workflow, with a log');
byIdentity('certificate-mail', await keyless(PERSON), 'a person, with a log', PERSON);
byIdentity('certificate-stamped', await keyless(WORKFLOW, { stamped: tsa }), 'with a log and a time stamp');
byIdentity('certificate-log2', await keyless(WORKFLOW, { version: 2, stamped: tsa }), 'a log of version 2, which says no time, and a time stamp');
byIdentity('certificate-chain-v0.2', await keyless(WORKFLOW, { mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.2', chain: [authority.der] }), 'older bundle, with the chain');
byIdentity('certificate-expression', await keyless(WORKFLOW), 'regular expressions', WORKFLOW, { identities: [{ identityRegexp: 'https://github\\.com/example/.*', issuerRegexp: 'https://token\\.actions\\..*' }] });
notByIdentity('certificate-log2-dsse', await keyless(WORKFLOW, { version: 2, stamped: tsa, dsse: true }), 'Form', 'an entry of type dsse in a log of version 2, which its specification dropped before any was made');
notByIdentity('certificate-none-trusted', await keyless(WORKFLOW), 'NoIdentities', 'only keys are trusted', { identities: [], keys: everybody });
notByIdentity('certificate-no-roots', await keyless(WORKFLOW), 'Invalid', 'no authority is trusted', { roots: false });
notByIdentity('certificate-other-identity', await keyless({ ...WORKFLOW, identity: WORKFLOW.identity.replace('example', 'evil') }), 'OtherIdentity', 'another workflow');
notByIdentity('certificate-other-issuer', await keyless({ ...WORKFLOW, issuer: 'https://evil.example' }), 'OtherIdentity', 'the right name from another issuer');
notByIdentity('certificate-mixed', await keyless({ ...WORKFLOW, issuer: PERSON.issuer }), 'OtherIdentity', 'name and issuer of two who are trusted');
notByIdentity('certificate-mail-as-uri', await keyless({ kind: 'email', identity: 'x@github.com', issuer: WORKFLOW.issuer }), 'OtherIdentity', 'a mail address where a workflow is trusted');
notByIdentity('certificate-expression-inside', await keyless({ ...WORKFLOW, identity: `https://evil.example/?${WORKFLOW.identity}` }), 'OtherIdentity', 'matches in the middle only', { identities: [{ identityRegexp: 'https://github\\.com/example/.*', issuerRegexp: '.*' }] });
notByIdentity('certificate-no-issuer', await keyless(WORKFLOW, { certificate: { issuer: '' } }), 'OtherIdentity', 'the certificate names no issuer');
notByIdentity('certificate-no-name', await keyless({ issuer: WORKFLOW.issuer }), 'OtherIdentity', 'the certificate names nobody', { identities: [{ identityRegexp: '.*', issuerRegexp: '.*' }] });
notByIdentity('certificate-strange-authority', await keyless(WORKFLOW, { authority: strangeAuthority }), 'Invalid', 'an authority that is not trusted');
notByIdentity('certificate-strange-chain', await keyless(WORKFLOW, { mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.2', authority: strangeAuthority, chain: [strangeAuthority.der, strangeRoot.der] }), 'Invalid', 'brings its own root');
notByIdentity('certificate-twin-authority', await keyless(WORKFLOW, { authority: twin }), 'Invalid', 'an authority of the same name with another key');
notByIdentity('certificate-no-sct', await keyless(WORKFLOW, { certificate: { sct: false } }), 'Invalid', 'no certificate transparency');
notByIdentity('certificate-strange-sct', await keyless(WORKFLOW, { certificate: { ct: strangeCt } }), 'Invalid', 'certificate transparency log that is not trusted');
notByIdentity('certificate-no-purpose', await keyless(WORKFLOW, { certificate: { purpose: [] } }), 'Invalid', 'not for signing code');
notByIdentity('certificate-other-purpose', await keyless(WORKFLOW, { certificate: { purpose: [x509.ExtendedKeyUsage.serverAuth] } }), 'Invalid', 'for a server');
notByIdentity('certificate-expired', await keyless(WORKFLOW, { certificate: { from: new Date(START - minutes(30)) } }), 'Invalid', 'ten minutes that were over when the log took it');
notByIdentity('certificate-too-early', await keyless(WORKFLOW, { certificate: { from: new Date(START + minutes(30)) } }), 'Invalid', 'ten minutes that had not begun when the log took it');
notByIdentity('certificate-unlogged', await keyless(WORKFLOW, { unlogged: true }), 'Invalid', 'no log');
notByIdentity('certificate-unlogged-stamped', await keyless(WORKFLOW, { unlogged: true, stamped: tsa }), 'Invalid', 'a time stamp, and no log');
notByIdentity('certificate-log2-unstamped', await keyless(WORKFLOW, { version: 2 }), 'Invalid', 'nobody says when');
notByIdentity('certificate-strange-log', await keyless(WORKFLOW, { log: strangeLog }), 'Invalid', 'a log that is not trusted');
notByIdentity('certificate-strange-stamp', await keyless(WORKFLOW, { version: 2, stamped: strangeTsa }), 'Invalid', 'a time-stamp authority that is not trusted');
notByIdentity('certificate-other-stamp', await keyless(WORKFLOW, { version: 2, stamped: tsa, stampedOver: Buffer.from('another signature') }), 'Invalid', 'a time stamp of something else');
notByIdentity('certificate-log-other-payload', await keyless(WORKFLOW, { loggedEnvelope: envelope('p256', { st: statement({ predicate: { other: 1 } }) }) }), 'Invalid', 'the entry is of another payload');
notByIdentity('certificate-log2-other-payload', await keyless(WORKFLOW, { version: 2, stamped: tsa, loggedEnvelope: envelope('p256', { st: statement({ predicate: { other: 1 } }) }) }), 'Invalid', 'the entry is of another payload');
notByIdentity('certificate-log-other-certificate', await keyless(WORKFLOW, { loggedCertificate: await authority.issue(ec('P-256'), WORKFLOW) }), 'Invalid', 'the entry is of another certificate');
notByIdentity('certificate-other-image', await keyless(WORKFLOW, { st: statement({ subject: [{ digest: { sha256: otherHex } }] }) }), 'OtherImage', 'about another image');
const withCertificate = async (change, options) => { const b = await keyless(WORKFLOW, options); change(b, b.verificationMaterial, b.verificationMaterial.tlogEntries[0]); return b; };
notByIdentity('certificate-flipped', await withCertificate((b, m) => { m.certificate.rawBytes = flip(m.certificate.rawBytes, 100); }), 'Invalid', 'one bit of the certificate');
notByIdentity('certificate-garbage', await withCertificate((b, m) => { m.certificate.rawBytes = b64('garbage'); }), 'Invalid', 'no certificate');
notByIdentity('certificate-signature-flipped', await withCertificate((b) => { const s = b.dsseEnvelope.signatures[0]; s.sig = flip(s.sig); }), 'Invalid', 'one bit of the signature');
notByIdentity('certificate-signature-stranger', await withCertificate((b) => { b.dsseEnvelope = envelope('stranger'); }), 'Invalid', 'signature of another key');
notByIdentity('certificate-promise-flipped', await withCertificate((b, m, t) => { t.inclusionPromise.signedEntryTimestamp = flip(t.inclusionPromise.signedEntryTimestamp, 30); }), 'Invalid', 'one bit of the promise');
notByIdentity('certificate-time-changed', await withCertificate((b, m, t) => { t.integratedTime = String(Number(t.integratedTime) - 1); }), 'Invalid', 'another time than was promised');
notByIdentity('certificate-no-promise', await withCertificate((b, m, t) => { delete t.inclusionPromise; }), 'Invalid', 'a proof, and nothing that vouches for its time');
notByIdentity('certificate-no-proof', await withCertificate((b, m, t) => { delete t.inclusionProof; }), 'Invalid', 'a promise, and no proof');
notByIdentity('certificate-proof-flipped', await withCertificate((b, m, t) => { t.inclusionProof.hashes[1] = flip(t.inclusionProof.hashes[1]); }), 'Invalid', 'one bit of the proof');
notByIdentity('certificate-no-checkpoint', await withCertificate((b, m, t) => { delete t.inclusionProof.checkpoint; }), 'Invalid', 'a proof whose root nobody signed');
notByIdentity('certificate-self-signed', await (async () => {
  const pair = ec('P-256');
  const self = await Authority.make('CN=self,O=self');
  return keyless(WORKFLOW, { authority: self });
})(), 'Invalid', 'an authority of its own');

// Simple signing
const SIGNATURE = 'dev.cosignproject.cosign/signature';
const payloadOf = (change = {}, more = {}) => JSON.stringify({
  critical: { identity: { 'docker-reference': 'registry.example/app' }, image: { 'docker-manifest-digest': `sha256:${hex}` }, type: 'cosign container image signature', ...change },
  optional: null, ...more,
});
const simple = (name, { payload = payloadOf(), hash, annotations = {} } = {}) => ({
  payload, annotations: { [SIGNATURE]: b64(sign(name, Buffer.from(payload), hash)), ...annotations },
});
byKey('simple-p256', simple('p256'), 'as cosign 2 writes it');
byKey('simple-p384-sha384', simple('p384', { hash: 'sha384' }), 'as cosign 2.6 signs with this curve', 'p384');
byKey('simple-p384-sha256', simple('p384'), 'as cosign up to 2.5.3 signed with this curve', 'p384');
byKey('simple-ed25519', simple('ed25519'), 'pure Ed25519', 'ed25519');
byKey('simple-rsa2048', simple('rsa2048'), 'RSASSA-PKCS1-v1_5', 'rsa2048');
byKey('simple-annotated', simple('p256', { payload: payloadOf({}, { optional: { creator: 'somebody', n: 1 } }) }), 'with `cosign sign -a`');
byKey('simple-other-name', simple('p256', { payload: payloadOf({ identity: { 'docker-reference': 'mirror.example/app' } }) }), 'the name decides nothing');
byKey('simple-empty-chain', simple('p256', { annotations: { 'dev.sigstore.cosign/chain': '' } }), 'cosign writes an empty chain');
notByKey('simple-stranger', simple('stranger'), 'Stranger', 'a key that is not trusted');
notByKey('simple-none-trusted', simple('p256'), 'NoKeys', 'only identities are trusted', { keys: [], ...trust });
notByKey('simple-log-required', simple('p256'), 'NotLogged', 'this form has no proof', required);
notByKey('simple-other-image', simple('p256', { payload: payloadOf({ image: { 'docker-manifest-digest': `sha256:${otherHex}` } }) }), 'OtherImage', 'about another image');
notByKey('simple-type', simple('p256', { payload: payloadOf({ type: 'atomic container signature' }) }), 'Form', 'another kind of signature');
notByKey('simple-unknown-critical', simple('p256', { payload: payloadOf({ expires: 1 }) }), 'Form', 'something critical that is not known');
notByKey('simple-no-image', simple('p256', { payload: payloadOf({ image: {} }) }), 'Form', 'about nothing');
notByKey('simple-no-critical', simple('p256', { payload: '{}' }), 'Form', 'nothing critical');
notByKey('simple-twice', simple('p256', { payload: payloadOf().replace('"critical":', '"critical":{},"critical":') }), 'Form', 'two critical parts');
notByKey('simple-behind', simple('p256', { payload: `${payloadOf()}{}` }), 'Form', 'something behind the payload');
const annotated = (change) => { const s = simple('p256'); change(s.annotations, s); return s; };
notByKey('simple-no-signature', annotated((a) => { delete a[SIGNATURE]; }), 'Form', 'no signature');
notByKey('simple-no-base64', annotated((a) => { a[SIGNATURE] = '*'; }), 'Form', 'no base64');
notByKey('simple-flipped', annotated((a) => { a[SIGNATURE] = flip(a[SIGNATURE]); }), 'Stranger', 'one bit of the signature');
notByKey('simple-payload-changed', annotated((a, s) => { s.payload += ' '; }), 'Stranger', 'one space behind the payload');
notByKey('simple-empty', annotated((a, s) => { s.payload = ''; }), 'Form', 'empty payload');

const certified = async (who, options = {}) => {
  const pair = ec('P-256');
  const certificate = await (options.authority ?? authority).issue(pair, who, options.certificate);
  const payload = options.payload ?? payloadOf();
  const signature = b64(sign(pair, Buffer.from(payload)));
  const shown = options.loggedCertificate ?? certificate;
  const body = Buffer.from(canonical(hashedEntry(Buffer.from(options.loggedPayload ?? payload), options.loggedSignature ?? signature, pemOf(shown, 'CERTIFICATE'))));
  const time = Math.floor(Date.now() / 1000);
  const index = 12345;
  const by = options.log ?? rekor;
  const promise = {
    SignedEntryTimestamp: by.promise(body, time, index),
    Payload: { body: b64(body), integratedTime: time, logIndex: index, logID: by.id.toString('hex') },
  };
  options.change?.(promise);
  return { payload, annotations: {
    [SIGNATURE]: signature,
    'dev.sigstore.cosign/certificate': pemOf(certificate, 'CERTIFICATE'),
    'dev.sigstore.cosign/chain': pemOf(authority.der, 'CERTIFICATE') + pemOf(root.der, 'CERTIFICATE'),
    ...(options.unlogged ? {} : { 'dev.sigstore.cosign/bundle': JSON.stringify(promise) }),
  } };
};
byIdentity('simple-workflow', await certified(WORKFLOW), 'as cosign 2 writes it');
byIdentity('simple-mail', await certified(PERSON), 'as cosign 2 writes it', PERSON);
notByIdentity('simple-certificate-none-trusted', await certified(WORKFLOW), 'NoIdentities', 'only keys are trusted', { identities: [], keys: everybody });
notByIdentity('simple-other-identity', await certified({ ...WORKFLOW, identity: 'https://evil.example' }), 'OtherIdentity', 'somebody else');
notByIdentity('simple-strange-authority', await certified(WORKFLOW, { authority: strangeAuthority }), 'Invalid', 'an authority that is not trusted');
notByIdentity('simple-no-sct', await certified(WORKFLOW, { certificate: { sct: false } }), 'Invalid', 'no certificate transparency');
notByIdentity('simple-expired', await certified(WORKFLOW, { certificate: { from: new Date(START - minutes(30)) } }), 'Invalid', 'was over when the log took it');
notByIdentity('simple-unlogged', await certified(WORKFLOW, { unlogged: true }), 'Invalid', 'no promise of a log');
notByIdentity('simple-strange-log', await certified(WORKFLOW, { log: strangeLog }), 'Invalid', 'a log that is not trusted');
notByIdentity('simple-promise-flipped', await certified(WORKFLOW, { change: (p) => { p.SignedEntryTimestamp = flip(p.SignedEntryTimestamp, 30); } }), 'Invalid', 'one bit of the promise');
notByIdentity('simple-promise-time', await certified(WORKFLOW, { change: (p) => { p.Payload.integratedTime -= 1; } }), 'Invalid', 'another time than was promised');
notByIdentity('simple-promise-index', await certified(WORKFLOW, { change: (p) => { p.Payload.logIndex -= 1; } }), 'Invalid', 'another index than was promised');
notByIdentity('simple-promise-other-payload', await certified(WORKFLOW, { loggedPayload: 'another' }), 'Invalid', 'the promise is of another payload');
notByIdentity('simple-promise-other-signature', await certified(WORKFLOW, { loggedSignature: b64(sign('p256', Buffer.from('x'))) }), 'Invalid', 'the promise is of another signature');
notByIdentity('simple-promise-other-certificate', await certified(WORKFLOW, { loggedCertificate: await authority.issue(ec('P-256'), WORKFLOW) }), 'Invalid', 'the promise is of another certificate');
notByIdentity('simple-promise-empty', await certified(WORKFLOW, { change: (p) => { delete p.Payload; } }), 'Form', 'a promise of nothing');
notByIdentity('simple-certified-other-image', await certified(WORKFLOW, { payload: payloadOf({ image: { 'docker-manifest-digest': `sha256:${otherHex}` } }) }), 'OtherImage', 'about another image');

write('cases.json', `${JSON.stringify(cases, null, 1)}\n`);
console.log(`${cases.length} cases, ${cases.filter((c) => /^(key|identity) /.test(c.expect)).length} of them good`);
