-- Digest credentials for a user who gives his whole address as his user name: H(user@host:realm:password).
alter table codomain.credentials add column md5_whole text, add column sha256_whole text;
