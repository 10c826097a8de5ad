# Model versions, the journal of releases and the lock. A version is written once;
# the journal and the lock are replaced often, which is why old generations go.
resource "google_storage_bucket" "main" {
  name     = "${var.project_id}-${var.name}"
  location = var.region
  labels   = var.labels

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false # a bucket with models in it is nobody's to delete

  versioning {
    enabled = true
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = var.replaced_object_days
    }
    action {
      type = "Delete"
    }
  }
}
