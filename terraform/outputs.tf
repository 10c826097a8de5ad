output "bucket" {
  description = "For `bucket` of tftctl.yaml."
  value       = google_storage_bucket.main.url
}

output "service_account" {
  description = "For `service_account` of tftctl.yaml's targets."
  value       = google_service_account.main.email
}

output "repository" {
  description = "Where images go: for `_REPOSITORY` of cloudbuild.yaml, and the beginning of `image` in tftctl.yaml."
  value       = "${google_artifact_registry_repository.main.location}-docker.pkg.dev/${google_artifact_registry_repository.main.project}/${google_artifact_registry_repository.main.repository_id}"
}
