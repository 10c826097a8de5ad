# Images of tftserve. A tag never moves, so what was looked at is what runs.
resource "google_artifact_registry_repository" "main" {
  repository_id = var.name
  location      = var.region
  format        = "DOCKER"
  description   = "Images of tftserve"
  labels        = var.labels

  docker_config {
    immutable_tags = true
  }
}
