-- What a credit was granted for may never come to its server: as long as nobody knows, what is spent on it shows nothing.
-- Of those that were granted before, and of MESSAGE and INVITE, nobody asks.
alter table codomain.credits add column under_way boolean not null default false;
