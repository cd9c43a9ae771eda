// Asks another implementation, npm's @sigstore/verify 3.1.1, about every bundle it can judge.
import { createRequire } from 'node:module';
import fs from 'node:fs';
import crypto from 'node:crypto';
import path from 'node:path';
const require = createRequire(`${process.cwd()}/`);
const { Verifier, toTrustMaterial, toSignedEntity } = require('@sigstore/verify');
const { bundleFromJSON } = require('@sigstore/bundle');
const { TrustedRoot } = require('@sigstore/protobuf-specs');
const out = path.resolve(process.argv[2] ?? '.');
const read = (name) => fs.readFileSync(path.join(out, name), 'utf8');
const root = TrustedRoot.fromJSON(JSON.parse(read('trusted_root.json')));
for (const c of JSON.parse(read('cases.json')).filter((c) => c.bundle !== undefined)) {
  const good = /^(key|identity) /.test(c.expect);
  let verdict;
  try {
    const bundle = bundleFromJSON(JSON.parse(c.bundle));
    const keyed = bundle.verificationMaterial.content.$case === 'publicKey';
    const finder = () => {
      const name = c.name.includes('p384') ? 'p384' : c.name.includes('rsa2048') ? 'rsa2048' : c.name.includes('rsa4096') ? 'rsa4096' : c.name.includes('ed25519') ? 'ed25519' : 'p256';
      return { publicKey: crypto.createPublicKey(read(`keys/${name}.pub.pem`)), validFor: () => true };
    };
    const log = keyed && !c.log ? 0 : 1;
    const verifier = new Verifier(toTrustMaterial(root, finder), { ctlogThreshold: keyed ? 0 : 1, tlogThreshold: log, timestampThreshold: keyed ? 0 : 1, tsaThreshold: 0 });
    const who = verifier.verify(toSignedEntity(bundle));
    verdict = `good ${who.identity?.subjectAlternativeName ?? ''}`;
  } catch (e) { verdict = `bad: ${e.message.slice(0, 100)}`; }
  const agree = verdict.startsWith('good') === good;
  if (!agree || process.argv[3]) console.log(agree ? '  ' : '! ', c.name, '|', c.expect.slice(0, 30), '|', verdict);
}
