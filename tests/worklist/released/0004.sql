BEGIN TRANSACTION;
CREATE TABLE account (
	id VARCHAR(32) NOT NULL, 
	issuer TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	handle VARCHAR(200) NOT NULL, 
	email TEXT NOT NULL, 
	role VARCHAR(32) NOT NULL, 
	created_utc DATETIME NOT NULL, 
	CONSTRAINT pk_account PRIMARY KEY (id), 
	CONSTRAINT uq_account_handle UNIQUE (handle), 
	CONSTRAINT uq_account_issuer_subject UNIQUE (issuer, subject)
);
INSERT INTO "account" VALUES('00000000000000000000000000000001','https://id.example','s-1','Ana #1','','','2026-01-05 08:00:00.000000');
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE audit (
	seq INTEGER NOT NULL, 
	at_utc DATETIME NOT NULL, 
	actor VARCHAR(200) NOT NULL, 
	event VARCHAR(32) NOT NULL, 
	subject VARCHAR(64) NOT NULL, 
	detail TEXT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (seq)
);
INSERT INTO "audit" VALUES(1,'2026-01-05 08:00:00.000000','local user','submit','ecb5ed373f95af8530aaccaa67ce88595fc60470aa78475fe8ac6a4696a91d42','{"n":1}','0000000000000000000000000000000000000000000000000000000000000000','799cd7ee10e1a4a083764d7ff7a4424f2d01c1240c3c0c84ac1d254f24304113');
INSERT INTO "audit" VALUES(2,'2026-01-05 08:00:00.000000','worker-1','result','ecb5ed373f95af8530aaccaa67ce88595fc60470aa78475fe8ac6a4696a91d42','{"n":1}','799cd7ee10e1a4a083764d7ff7a4424f2d01c1240c3c0c84ac1d254f24304113','5bd2802ff35935b3d823dd4d429495e3065b527e218aba54a5e52cb83999ff99');
INSERT INTO "audit" VALUES(3,'2026-01-05 08:00:00.000000','local user','claim','ecb5ed373f95af8530aaccaa67ce88595fc60470aa78475fe8ac6a4696a91d42','{"n":1}','5bd2802ff35935b3d823dd4d429495e3065b527e218aba54a5e52cb83999ff99','a3920c27802eeb262b26e2fe08d91e7ef7ad34b2c737893483b73e72b74ddf1b');
CREATE TABLE audit_head (
	id INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit_head PRIMARY KEY (id)
);
INSERT INTO "audit_head" VALUES(1,3,'a3920c27802eeb262b26e2fe08d91e7ef7ad34b2c737893483b73e72b74ddf1b');
CREATE TABLE batch (
	id VARCHAR(32) NOT NULL, 
	created_utc DATETIME NOT NULL, 
	actor VARCHAR(200) NOT NULL, 
	source VARCHAR(32) NOT NULL, 
	total INTEGER NOT NULL, 
	finished_utc DATETIME, 
	seen_utc DATETIME NOT NULL, 
	CONSTRAINT pk_batch PRIMARY KEY (id)
);
INSERT INTO "batch" VALUES('batch-1','2026-01-05 08:00:00.000000','local user','cli',1,NULL,'2026-01-05 08:00:00.000000');
CREATE TABLE batch_item (
	batch_id VARCHAR(32) NOT NULL, 
	position INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	sha256 VARCHAR(64), 
	study_id VARCHAR(32), 
	code VARCHAR(32) NOT NULL, 
	message TEXT NOT NULL, 
	hint TEXT NOT NULL, 
	CONSTRAINT pk_batch_item PRIMARY KEY (batch_id, position), 
	CONSTRAINT fk_batch_item_batch_id FOREIGN KEY(batch_id) REFERENCES batch (id)
);
INSERT INTO "batch_item" VALUES('batch-1',0,'film.png','ecb5ed373f95af8530aaccaa67ce88595fc60470aa78475fe8ac6a4696a91d42',NULL,'','','');
CREATE TABLE "explanation" (
	id INTEGER NOT NULL, 
	study_id VARCHAR(32) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	label VARCHAR(100) NOT NULL, 
	method VARCHAR(32) NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	asked_by VARCHAR(200) NOT NULL, 
	asked_utc DATETIME NOT NULL, 
	lease_owner VARCHAR(100), 
	lease_until_utc DATETIME, 
	done_utc DATETIME, 
	ms INTEGER, 
	error VARCHAR(64) NOT NULL, 
	body BLOB, 
	correction VARCHAR(32) DEFAULT '' NOT NULL, 
	CONSTRAINT pk_explanation PRIMARY KEY (id), 
	CONSTRAINT fk_explanation_study_id FOREIGN KEY(study_id) REFERENCES study (id), 
	CONSTRAINT fk_explanation_sha256 FOREIGN KEY(sha256) REFERENCES image (sha256), 
	CONSTRAINT uq_explanation_sha256_label_method_model_correction UNIQUE (sha256, label, method, model, correction)
);
INSERT INTO "explanation" VALUES(1,'00000000000000000000000000000001','ecb5ed373f95af8530aaccaa67ce88595fc60470aa78475fe8ac6a4696a91d42','Mass','lime','tiny 1','queued','Ana #1','2026-01-05 08:00:00.000000',NULL,NULL,NULL,NULL,'',NULL,'');
INSERT INTO "explanation" VALUES(2,'00000000000000000000000000000001','ecb5ed373f95af8530aaccaa67ce88595fc60470aa78475fe8ac6a4696a91d42','Mass','occlusion','tiny 1','done','Ana #1','2026-01-05 08:00:00.000000',NULL,NULL,'2026-01-05 08:00:00.000000',1200,'',X'0000000000000000','');
CREATE TABLE identity (
	study_id VARCHAR(32) NOT NULL, 
	patient_id TEXT NOT NULL, 
	patient_name TEXT NOT NULL, 
	accession TEXT NOT NULL, 
	referrer TEXT NOT NULL, 
	referrer_phone TEXT NOT NULL, 
	question TEXT NOT NULL, 
	CONSTRAINT pk_identity PRIMARY KEY (study_id), 
	CONSTRAINT fk_identity_study_id FOREIGN KEY(study_id) REFERENCES study (id)
);
INSERT INTO "identity" VALUES('00000000000000000000000000000001','SYNTHETIC-1','Ågren^Synthetic','','','','');
CREATE TABLE image (
	sha256 VARCHAR(64) NOT NULL, 
	study_id VARCHAR(32) NOT NULL, 
	received_utc DATETIME NOT NULL, 
	source VARCHAR(32) NOT NULL, 
	file_name TEXT NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	sop_uid VARCHAR(64), 
	status VARCHAR(32) NOT NULL, 
	attempts INTEGER NOT NULL, 
	conflicts_with VARCHAR(64), 
	result_id INTEGER, 
	thumbnail BLOB, correction VARCHAR(32) DEFAULT '' NOT NULL, 
	CONSTRAINT pk_image PRIMARY KEY (sha256), 
	CONSTRAINT fk_image_study_id FOREIGN KEY(study_id) REFERENCES study (id)
);
INSERT INTO "image" VALUES('ecb5ed373f95af8530aaccaa67ce88595fc60470aa78475fe8ac6a4696a91d42','00000000000000000000000000000001','2026-01-05 08:00:00.000000','cli','film 1.png',1000,'2.25.1','assessed',0,NULL,1,X'89504E47','turn=2');
INSERT INTO "image" VALUES('ea43719a5e8931517633388b11410fb2474a2270ebe214d9cd4ebf77a9c5659e','00000000000000000000000000000002','2026-01-05 08:00:00.000000','cli','film 2.png',1000,NULL,'waiting',0,NULL,NULL,NULL,'');
CREATE TABLE model_change (
	id INTEGER NOT NULL, 
	at_utc DATETIME NOT NULL, 
	actor VARCHAR(200) NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	note TEXT NOT NULL, 
	CONSTRAINT pk_model_change PRIMARY KEY (id)
);
INSERT INTO "model_change" VALUES(1,'2026-01-05 08:00:00.000000','Ana #1','tiny 1','2222222222222222222222222222222222222222222222222222222222222222','sees more');
CREATE TABLE policy (
	id INTEGER NOT NULL, 
	version VARCHAR(100) NOT NULL, 
	body TEXT NOT NULL, 
	approver TEXT NOT NULL, 
	author VARCHAR(200) NOT NULL, 
	note TEXT NOT NULL, 
	created_utc DATETIME NOT NULL, 
	CONSTRAINT pk_policy PRIMARY KEY (id), 
	CONSTRAINT uq_policy_version UNIQUE (version)
);
INSERT INTO "policy" VALUES(1,'1.0.1','','Ana','Ana #1','','2026-01-05 08:00:00.000000');
CREATE TABLE policy_change (
	id INTEGER NOT NULL, 
	at_utc DATETIME NOT NULL, 
	actor VARCHAR(200) NOT NULL, 
	policy_id INTEGER, 
	CONSTRAINT pk_policy_change PRIMARY KEY (id), 
	CONSTRAINT fk_policy_change_policy_id FOREIGN KEY(policy_id) REFERENCES policy (id)
);
INSERT INTO "policy_change" VALUES(1,'2026-01-05 08:00:00.000000','Ana #1',1);
CREATE TABLE "result" (
	id INTEGER NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	model VARCHAR(100) NOT NULL, 
	policy VARCHAR(100) NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	created_utc DATETIME NOT NULL, 
	state VARCHAR(32) NOT NULL, 
	urgency VARCHAR(32) NOT NULL, 
	body JSON NOT NULL, 
	heatmaps BLOB, 
	correction VARCHAR(32) DEFAULT '' NOT NULL, 
	gate VARCHAR(100) DEFAULT '' NOT NULL, 
	CONSTRAINT pk_result PRIMARY KEY (id), 
	CONSTRAINT fk_result_sha256 FOREIGN KEY(sha256) REFERENCES image (sha256), 
	CONSTRAINT uq_result_sha256_model_policy_correction_gate UNIQUE (sha256, model, policy, correction, gate)
);
INSERT INTO "result" VALUES(1,'ecb5ed373f95af8530aaccaa67ce88595fc60470aa78475fe8ac6a4696a91d42','tiny 1','1','0','2026-01-05 08:00:00.000000','flagged','routine','{"p": 0.125}',X'0000000000000000','turn=2','1.0.0+0badcafe');
CREATE TABLE review (
	id INTEGER NOT NULL, 
	study_id VARCHAR(32) NOT NULL, 
	at_utc DATETIME NOT NULL, 
	actor VARCHAR(200) NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	data JSON NOT NULL, 
	CONSTRAINT pk_review PRIMARY KEY (id), 
	CONSTRAINT fk_review_study_id FOREIGN KEY(study_id) REFERENCES study (id)
);
INSERT INTO "review" VALUES(1,'00000000000000000000000000000001','2026-01-05 08:00:00.000000','a','claim','{}');
CREATE TABLE sign_in (
	"key" VARCHAR(64) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	started_utc DATETIME NOT NULL, 
	seen_utc DATETIME NOT NULL, 
	ended_utc DATETIME, 
	ended_why VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_sign_in PRIMARY KEY ("key"), 
	CONSTRAINT fk_sign_in_account_id FOREIGN KEY(account_id) REFERENCES account (id)
);
INSERT INTO "sign_in" VALUES('1111111111111111111111111111111111111111111111111111111111111111','00000000000000000000000000000001','2026-01-05 08:00:00.000000','2026-01-05 08:00:00.000000',NULL,'');
CREATE TABLE study (
	id VARCHAR(32) NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	study_uid VARCHAR(64) NOT NULL, 
	source VARCHAR(32) NOT NULL, 
	received_utc DATETIME NOT NULL, 
	acquired_utc DATETIME, 
	since_utc DATETIME NOT NULL, 
	age_years DOUBLE, 
	sex VARCHAR(32) NOT NULL, 
	"view" VARCHAR(32) NOT NULL, 
	typed JSON, 
	state VARCHAR(32), 
	urgency VARCHAR(32) NOT NULL, 
	tier INTEGER NOT NULL, 
	findings TEXT NOT NULL, 
	action TEXT NOT NULL, 
	reasons JSON NOT NULL, 
	cover VARCHAR(64), 
	override JSON, 
	films_urgency VARCHAR(32), 
	is_open BOOLEAN NOT NULL, 
	status VARCHAR(32) NOT NULL, 
	claimed_by VARCHAR(200), 
	claimed_utc DATETIME, 
	acknowledged_by VARCHAR(200), 
	acknowledged_utc DATETIME, 
	read_by VARCHAR(200), 
	read_utc DATETIME, 
	version INTEGER NOT NULL, 
	queued_utc DATETIME, 
	priority INTEGER NOT NULL, 
	not_before_utc DATETIME, 
	lease_owner VARCHAR(100), 
	lease_until_utc DATETIME, 
	lost_leases INTEGER NOT NULL, 
	wanted_model VARCHAR(100), 
	CONSTRAINT pk_study PRIMARY KEY (id), 
	CONSTRAINT uq_study_key UNIQUE ("key")
);
INSERT INTO "study" VALUES('00000000000000000000000000000001','0000000000000000000000000000000000000000000000000000000000000001','','cli','2026-01-05 08:00:00.000000',NULL,'2026-01-05 08:00:00.000000',54.0,'unknown','unknown','null','flagged','critical',0,'','','["Pneumothorax 0.91"]',NULL,NULL,NULL,1,'new',NULL,NULL,NULL,NULL,NULL,NULL,1,NULL,1,NULL,NULL,NULL,0,NULL);
INSERT INTO "study" VALUES('00000000000000000000000000000002','0000000000000000000000000000000000000000000000000000000000000002','','cli','2026-01-05 08:00:00.000000',NULL,'2026-01-05 08:00:00.000000',NULL,'unknown','unknown','null','flagged','routine',3,'','','[]',NULL,NULL,NULL,1,'new',NULL,NULL,NULL,NULL,NULL,NULL,1,NULL,1,NULL,NULL,NULL,0,NULL);
CREATE TABLE worker (
	id VARCHAR(100) NOT NULL, 
	started_utc DATETIME NOT NULL, 
	seen_utc DATETIME NOT NULL, 
	stopped_utc DATETIME, 
	answered INTEGER NOT NULL, 
	CONSTRAINT pk_worker PRIMARY KEY (id)
);
INSERT INTO "worker" VALUES('worker-1','2026-01-05 08:00:00.000000','2026-01-05 08:00:00.000000',NULL,1);
CREATE INDEX ix_audit_subject ON audit (subject);
CREATE INDEX ix_batch_actor ON batch (actor);
CREATE INDEX ix_study_alert ON study (since_utc, id) WHERE tier = 0 AND acknowledged_utc IS NULL;
CREATE INDEX ix_study_lease ON study (lease_until_utc) WHERE lease_owner IS NOT NULL;
CREATE INDEX ix_study_list ON study (is_open, tier, since_utc, id, urgency, status, received_utc, findings);
CREATE INDEX ix_study_queue ON study (priority, queued_utc) WHERE queued_utc IS NOT NULL;
CREATE INDEX ix_study_received ON study (received_utc);
CREATE INDEX ix_identity_patient_id ON identity (patient_id);
CREATE INDEX ix_image_study_id ON image (study_id);
CREATE INDEX ix_image_waiting ON image (study_id, result_id) WHERE status = 'waiting';
CREATE UNIQUE INDEX uq_image_sop_uid ON image (sop_uid) WHERE conflicts_with IS NULL;
CREATE INDEX ix_review_study_id ON review (study_id);
CREATE INDEX ix_image_status ON image (status);
CREATE INDEX ix_sign_in_account_id ON sign_in (account_id);
CREATE INDEX ix_explanation_study_id ON explanation (study_id);
CREATE INDEX ix_explanation_waiting ON explanation (asked_utc) WHERE status IN ('queued', 'running');
COMMIT;
